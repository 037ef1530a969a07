"""Data without labels, with the outputs of an ONNX file or of a torch network as targets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from compress.backends.iterate_split import array_inference, module_inference
from compress.backends.onnx_session import create_session
from compress.backends.read_graph import graph_shapes
from compress.backends.runner_protocol import Array, Feeds, run_error
from compress.core.atomic_files import sha256
from compress.core.language import gettext
from compress.core.signature import BATCH, TensorSpec
from compress.data.batch import Batch, Split

if TYPE_CHECKING:
    from torch import nn

    from compress.backends.iterate_split import Inference
    from compress.data.interface import Data
    from compress.tasks.base import Task


class ReferenceSplit:
    """A split whose targets are the outputs of a network.

    Args:
        split: Samples.
        load: Gives the network, which it loads once, when the first batch is read.
        identity: Identifies the network.

    Attributes:
        fingerprint: Fingerprint of the samples and the network.
        views: Views of the samples.
    """

    def __init__(self, split: Split, load: Callable[[], Inference], identity: str) -> None:
        self.split, self._load = split, load
        self.fingerprint = f"{split.fingerprint}+{identity}"
        self.views = split.views

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.split)

    def ordered(self, batch_size: int) -> Iterable[Batch]:
        """See `Split.ordered`."""
        return self._labelled(self.split.ordered(batch_size))

    def epoch(self, number: int, batch_size: int, seed: int) -> Iterable[Batch]:
        """See `Split.epoch`."""
        return self._labelled(self.split.epoch(number, batch_size, seed))

    def view(self, number: int, batch_size: int) -> Iterable[Batch]:
        """See `Split.view`."""
        return self._labelled(self.split.view(number, batch_size))

    def batches(self, batch_size: int) -> int:
        """See `Split.batches`."""
        return self.split.batches(batch_size)

    def _labelled(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        for batch in batches:
            yield batch._replace(targets=self._load()(batch))


def with_reference_targets(data: Data, path: Path, task: Task) -> Data:
    """Replace the targets of data by the outputs of a file.

    Args:
        data: Data with or without targets.
        path: Float ONNX file.
        task: Task, which names the outputs.
    """
    return _with_targets(data, lambda: _of_file(path, task), sha256(path))


def with_network_targets(data: Data, network: nn.Module, task: Task, identity: str) -> Data:
    """Replace the targets of data by the outputs of a torch network, which are also those of its specification.

    Args:
        data: Data with or without targets.
        network: On the CPU, in eval mode; it must not change any more.
        task: Task, which names the outputs.
        identity: Identifies the network with its weights.
    """
    infer = module_inference(network, task, torch.device("cpu"))
    outputs = infer(next(iter(data.validation.ordered(1))))
    specs = tuple(TensorSpec(name=name, shape=(BATCH, *values.shape[1:])) for name, values in outputs.items())
    spec = data.spec.model_copy(update={"signature": data.spec.signature.model_copy(update={"outputs": specs})})
    return _with_targets(replace(data, spec=spec), lambda: infer, identity)


def _with_targets(data: Data, load: Callable[[], Inference], identity: str) -> Data:
    load = cache(load)
    train, validation, test = (ReferenceSplit(split, load, identity) for split in (data.train, data.validation, data.test))
    return replace(data, train=train, validation=validation, test=test)


def _of_file(path: Path, task: Task) -> Inference:
    session = create_session(path)

    def run(feeds: Feeds) -> Sequence[Array]:
        try:
            outputs: Sequence[Array] = session.run(None, dict(feeds))
        except Exception as error:  # the runtime's exceptions have no common base but Exception
            if not type(error).__module__.startswith("onnxruntime"):
                raise
            raise run_error(path, feeds, gettext("inputs that its operators support"), error) from error
        return outputs

    return array_inference(run, graph_shapes(path), task, str(path))[0]
