"""Run a network over a split, batch by batch: a torch module, an ONNX file or model, or a loaded runner."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from compress.backends import onnx_session
from compress.backends.eval_mode import eval_mode, module_device
from compress.backends.feeds import check_shapes, fixed_batch, name_feeds, whole_inputs
from compress.backends.open_runner import open_runner
from compress.backends.read_graph import read_graph
from compress.backends.runner_protocol import Array, FileRunner, Shapes
from compress.core.errors import DataError
from compress.core.language import gettext
from compress.data.batch import Batch, Split, Tensors

if TYPE_CHECKING:
    from compress.tasks.base import Task


MOST_BYTES = 2**26
"""Largest size of the outputs for a batch of tokens in an evaluation, 64 MiB: 550 tokens of a vocabulary of 30,522."""
FIRST_TOKENS = 2**9
"""Tokens of the first part of an evaluation, before the size of the outputs is known."""


RunnableNetwork: TypeAlias = "nn.Module | FileRunner | Path | onnx.ModelProto"
"""A torch module, a loaded runner, an ONNX file, or an ONNX model in memory."""


Network: TypeAlias = "RunnableNetwork | RecordedOutputs"
"""A network, or its recorded outputs."""


Inference = Callable[[Batch], Tensors]


@dataclass(frozen=True, eq=False)
class RecordedOutputs:
    """Outputs of a network on a split.

    Attributes:
        parts: Outputs and batch, whose inputs may be left out, in the order of the split.
    """

    parts: Iterable[Part]


Part = tuple[Tensors, Batch]


def iterate_split(
    network: Network,
    split: Split,
    task: Task,
    *,
    batch_size: int = 256,
    device: str | torch.device = "cpu",
    runtime: str = "onnxruntime",
    optimized: bool = True,
) -> Iterator[tuple[Tensors, Batch]]:
    """Run a network over a split in order and without augmentation, batch by batch.

    A file with a fixed batch gets batches of that size; the last one is padded with zeros, whose outputs are dropped. A file
    that quantizes with ranges of the whole batch gets one sample at a time, as on a device.

    Args:
        network: The network; a module is not changed, and is copied for another device.
        split: Samples.
        task: Task, which runs a module and names the outputs.
        batch_size: Samples per batch, unless the batch of the network is fixed.
        device: Device of a torch module.
        runtime: Runtime of a file, as in a device profile.
        optimized: With graph optimizations of ONNX Runtime; False runs each operator as in the file.

    Yields:
        Named outputs (n, …), floats in float32, on the CPU, and their batch.

    Raises:
        DataError: The split is empty.
        ConversionError: The file cannot be loaded, or has other inputs than the data.
    """
    if isinstance(network, RecordedOutputs):
        yield from network.parts
        return
    samples = 0
    with _loaded(network, task, torch.device(device), runtime, optimized) as (infer, fixed):
        parts = _OutputSize()
        for batch in split.ordered(fixed or (1 if has_batch_ranges(network) else batch_size)):
            for part in (batch,) if fixed else parts.divide(batch):
                outputs = task.complete_outputs(task.run_batch(infer, part), part.inputs)
                parts.measure(outputs, part)
                yield outputs, part
            samples += batch.size
    if not samples:
        msg = gettext("a split without samples cannot be evaluated; give at least one sample")
        raise DataError(msg)


class _OutputSize:
    """Divides batches of tokens so that their outputs stay below `MOST_BYTES`: logits of a vocabulary are large."""

    def __init__(self) -> None:
        self._bytes_per_token = 0.0

    def divide(self, batch: Batch) -> Iterator[Batch]:
        """Parts of a batch, in order; the batch itself, if its first input is no sequence of tokens."""
        tokens = next(iter(batch.inputs.values()))
        if tokens.is_floating_point() or tokens.ndim != 2:
            yield batch
            return
        start = 0
        while start < batch.size:
            most = FIRST_TOKENS if not self._bytes_per_token else int(MOST_BYTES / self._bytes_per_token)
            size = max(1, most // tokens.shape[1])
            whole = start == 0 and size >= batch.size
            yield batch if whole else batch.rows(slice(start, start + size))
            start += size

    def measure(self, outputs: Tensors, batch: Batch) -> None:
        """Take the size of the outputs of a part."""
        size = sum(values.numel() * values.element_size() for values in outputs.values())
        self._bytes_per_token = size / max(next(iter(batch.inputs.values())).numel(), 1)


def has_batch_ranges(network: RunnableNetwork) -> bool:
    """Whether an ONNX model computes ranges of activations from each batch."""
    path = network if isinstance(network, Path) else getattr(network, "path", None)
    if isinstance(network, onnx.ModelProto):
        model = network
    elif isinstance(path, Path) and path.suffix == ".onnx":
        model = read_graph(path)
    else:
        return False
    return any(node.op_type == "DynamicQuantizeLinear" for node in model.graph.node)


def pad_batch(inputs: Array, size: int | None) -> Array:
    """Pad a batch with zeros to `size` samples; None does not pad."""
    if size is None or len(inputs) == size:
        return inputs
    return np.concatenate([inputs, np.zeros((size - len(inputs), *inputs.shape[1:]), inputs.dtype)])


@contextmanager
def _loaded(
    network: RunnableNetwork, task: Task, device: torch.device, runtime: str, optimized: bool
) -> Iterator[tuple[Inference, int | None]]:
    """A function from a batch to outputs, and the fixed batch size of the network or None."""
    if isinstance(network, nn.Module):
        module = network if module_device(network).type == device.type else copy.deepcopy(network).to(device)
        with eval_mode(module):
            yield module_inference(module, task, device), None
    elif isinstance(network, onnx.ModelProto) or (isinstance(network, Path) and not optimized):
        session = onnx_session.create_session(network, optimised=optimized)
        shapes: Shapes = {entry.name: (tuple(entry.shape), entry.type) for entry in session.get_inputs()}
        yield array_inference(lambda feeds: session.run(None, feeds), shapes, task, gettext("the model"))
    elif isinstance(network, Path):
        with open_runner(runtime, network, threads=0) as runner:
            yield array_inference(runner.run, runner.shapes(), task, str(network))
    else:
        yield array_inference(network.run, network.shapes(), task, str(network.path))


def module_inference(module: nn.Module, task: Task, device: torch.device) -> Inference:
    """A function from a batch to outputs on the CPU, floats in float32, of a module on the device in eval mode."""

    def infer(batch: Batch) -> Tensors:
        with torch.no_grad():
            outputs = task.forward(module, batch.to(device).inputs)
        return {name: (values.float() if values.is_floating_point() else values).cpu() for name, values in outputs.items()}

    return infer


def array_inference(
    run: Callable[[dict[str, Array]], Sequence[Array]], shapes: Shapes, task: Task, name: str
) -> tuple[Inference, int | None]:
    """A function from a batch to outputs, and the fixed batch size of the network or None.

    Args:
        run: Returns all outputs for inputs by name.
        shapes: Shapes of the inputs.
        task: Task, which names the outputs.
        name: Name of the network for messages.
    """
    sizes = {key: shape for key, (shape, _) in shapes.items()}
    fixed = fixed_batch(sizes, frozenset())

    def infer(batch: Batch) -> Tensors:
        if fixed is not None and batch.size > fixed:
            parts = [infer(batch.rows(slice(start, start + fixed))) for start in range(0, batch.size, fixed)]
            return {key: torch.cat([part[key] for part in parts]) for key in parts[0]}
        feeds = batch_feeds(batch, tuple(shapes), name)
        whole = whole_inputs(feeds, sizes)
        check_shapes({key: array[0, ...] if key in whole else array for key, array in feeds.items()}, sizes, name)
        if whole:
            outputs = _run_one_by_one(run, feeds, whole)
        else:
            padded = {key: pad_batch(array, fixed) for key, array in feeds.items()}
            arrays = run(padded)
            outputs = [torch.from_numpy(array[: batch.size]) for array in arrays]
            mixed = any(array.shape[:1] != (fixed or batch.size,) for array in arrays)
            if mixed and fixed in (None, 1):  # an output without batch axis, such as a state
                outputs = _run_one_by_one(run, feeds, whole)
        return task.name_outputs(tuple(outputs))

    return infer, fixed


def _run_one_by_one(
    run: Callable[[dict[str, Array]], Sequence[Array]], feeds: dict[str, Array], whole: frozenset[str]
) -> list[Tensor]:
    """Outputs, (N, …) each, of a network with inputs without batch axis, which are named in `whole`."""
    results = []
    for index in range(len(next(iter(feeds.values())))):
        arrays = run({key: array[index, ...] if key in whole else array[index : index + 1] for key, array in feeds.items()})
        results.append([torch.from_numpy(array if array.shape[:1] == (1,) else array[None]) for array in arrays])
    return [torch.cat(parts) for parts in zip(*results, strict=True)]


def batch_feeds(batch: Batch, names: Sequence[str], network: str) -> dict[str, Array]:
    """Inputs of a batch as arrays, by the names of a file, see `name_feeds`.

    Args:
        batch: A batch on the CPU.
        names: Names of the inputs of the file.
        network: Name of the file for messages.

    Raises:
        ConversionError: The file has other inputs than the data.
    """
    return name_feeds(input_arrays(batch), names, network)


def input_arrays(batch: Batch) -> dict[str, Array]:
    """Inputs of a batch on the CPU as arrays, by the names of the data."""
    return {name: np.ascontiguousarray(values.numpy()) for name, values in batch.inputs.items()}
