"""Data without labels, with the outputs of an ONNX file as targets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from compress.backends.iterate_split import array_inference
from compress.backends.onnx_session import create_session
from compress.backends.read_graph import graph_shapes
from compress.backends.runner_protocol import Array, Feeds, run_error
from compress.core.atomic_files import sha256
from compress.core.language import gettext
from compress.data.batch import Batch, Split

if TYPE_CHECKING:
    from compress.backends.iterate_split import Inference
    from compress.data.interface import Data
    from compress.tasks.base import Task


class ReferenceSplit:
    """A split whose targets are the outputs of a file.

    Args:
        split: Samples.
        path: ONNX file.
        task: Task, which names the outputs.

    Attributes:
        fingerprint: Fingerprint of the samples and the file.
        views: Views of the samples.
    """

    def __init__(self, split: Split, path: Path, task: Task) -> None:
        self.split, self.path, self.task = split, path, task
        self.fingerprint = f"{split.fingerprint}+{sha256(path)}"
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

    @cached_property
    def _inference(self) -> Inference:
        session = create_session(self.path)

        def run(feeds: Feeds) -> Sequence[Array]:
            try:
                outputs: Sequence[Array] = session.run(None, dict(feeds))
            except Exception as error:  # the runtime's exceptions have no common base but Exception
                if not type(error).__module__.startswith("onnxruntime"):
                    raise
                raise run_error(self.path, feeds, gettext("inputs that its operators support"), error) from error
            return outputs

        return array_inference(run, graph_shapes(self.path), self.task, str(self.path))[0]

    def _labelled(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        for batch in batches:
            yield batch._replace(targets=self._inference(batch))


def with_reference_targets(data: Data, path: Path, task: Task) -> Data:
    """Replace the targets of data by the outputs of a file.

    Args:
        data: Data with or without targets.
        path: Float ONNX file.
        task: Task, which names the outputs.
    """
    train, validation, test = (ReferenceSplit(split, path, task) for split in (data.train, data.validation, data.test))
    return replace(data, train=train, validation=validation, test=test)
