"""Run a network over a split. All evaluation goes through `iterate_split`, which streams batch by batch.

run_split         statistics of the deciding metric of each sample, and the mean loss
compare_on_split  two networks side by side: scores of both, agreement of their outputs
collect_outputs   the outputs of the first samples, no more than fit in 256 MiB
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
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
from compress.backends.open_runner import open_runner
from compress.backends.read_graph import read_graph
from compress.backends.runner_protocol import Array, FileRunner, Shapes
from compress.core.errors import ConversionError, DataError
from compress.data.batch import INPUT, Batch, Split, Tensors
from compress.tasks.base import name_outputs
from compress.tasks.output_agreement import OutputAgreement, merge_agreements

if TYPE_CHECKING:
    from compress.tasks.base import Task

RunnableNetwork: TypeAlias = "nn.Module | FileRunner | Path | onnx.ModelProto"
"""A torch module, a loaded runner, an ONNX file, or an ONNX model in memory."""
Network: TypeAlias = "RunnableNetwork | RecordedOutputs"
"""A network, or the outputs that one gave."""
COLLECTED_BYTES = 2**28
"""Most bytes of outputs that are held at once."""
Inference = Callable[[Batch], Tensors]


@dataclass(frozen=True, eq=False)
class SplitScores:
    """Result of a network on a split.

    Attributes:
        scores: Statistics of the deciding metric of each sample: its score, (N,), where the metric is a mean, else (N, S).
        loss: The task's loss, averaged over the samples.
        metric: The deciding metric.
        not_finite: Number of samples with an output that is NaN or infinite.
        only_class: Index of the largest output, where it is the same for all samples of several classes; else None.
    """

    scores: Array
    loss: float
    metric: float
    not_finite: int = 0
    only_class: int | None = None


def run_split(
    network: Network,
    split: Split,
    task: Task,
    *,
    batch_size: int = 256,
    device: str | torch.device = "cpu",
    runtime: str = "onnxruntime",
) -> SplitScores:
    """Score a network on every sample of a split, in order and not augmented.

    Args:
        network: See `iterate_split`, as are the other arguments.
        split: Samples.
        task: Gives score and loss.
        batch_size: Samples per batch; affects memory and speed only.
        device: Where a torch module runs.
        runtime: What runs a file, as in a device profile.

    Raises:
        DataError: The split is empty.
        ConversionError: The file cannot be loaded, or has other inputs than the data.
    """
    scores: list[Array] = []
    loss, not_finite = 0.0, 0
    predicted, expected = set[int](), set[int]()
    for outputs, batch in iterate_split(network, split, task, batch_size=batch_size, device=device, runtime=runtime):
        batch = batch.to("cpu")
        scores.append(task.deciding.scores(outputs, batch.targets).numpy())
        loss += float(task.loss(outputs, batch.targets)) * batch.size
        not_finite += int(_not_finite(outputs).sum())
        _collect_classes(outputs, batch.targets, predicted, expected)
    gathered = np.concatenate(scores)
    only_class = predicted.pop() if len(predicted) == 1 and len(expected) > 1 else None
    return SplitScores(gathered, loss / len(gathered), task.deciding.value(gathered), not_finite, only_class)


def _collect_classes(outputs: Tensors, targets: Tensors, predicted: set[int], expected: set[int]) -> None:
    """Add the classes of a batch, where there is one output of logits (N, K) and one target of class numbers (N,)."""
    if len(outputs) != 1 or len(targets) != 1:
        return
    (logits,), (classes,) = outputs.values(), targets.values()
    if logits.ndim == 2 and classes.ndim == 1 and not classes.is_floating_point():
        predicted.update(logits.argmax(1).tolist())
        expected.update(classes.tolist())


def _not_finite(outputs: Tensors) -> Tensor:
    """Which samples have an output that is NaN or infinite, bool (N,)."""
    each = [(~values.isfinite()).flatten(1).any(1) for values in outputs.values() if values.is_floating_point()]
    return torch.stack(each).any(0)


@dataclass(frozen=True, eq=False)
class CollectedOutputs:
    """Outputs of a network on the first samples of a split.

    Attributes:
        outputs: Named outputs, (N, …), float32.
        targets: Named targets of the same samples.
    """

    outputs: Tensors
    targets: Tensors

    def __len__(self) -> int:
        """N."""
        return len(next(iter(self.outputs.values())))

    def first(self, count: int) -> CollectedOutputs:
        """The first samples."""
        outputs, targets = ({name: values[:count] for name, values in each.items()} for each in (self.outputs, self.targets))
        return CollectedOutputs(outputs, targets)


def collect_outputs(
    network: Network,
    split: Split,
    task: Task,
    *,
    batch_size: int = 64,
    limit: int | None = None,
    device: str | torch.device = "cpu",
    runtime: str = "onnxruntime",
    optimized: bool = True,
) -> CollectedOutputs:
    """Outputs of a network on the first samples of a split, no more than `COLLECTED_BYTES` of them.

    Args:
        network: See `iterate_split`, as are the other arguments.
        split: Samples.
        task: Names the outputs.
        batch_size: Samples per batch.
        limit: Only so many first samples.
        device: Where a torch module runs.
        runtime: What runs a file.
        optimized: Fuse operators.

    Raises:
        DataError: The split is empty.
        ConversionError: The file cannot be loaded, or has other inputs than the data.
    """
    outputs: list[Tensors] = []
    targets: list[Tensors] = []
    held = 0
    batches = iterate_split(
        network, split, task, batch_size=batch_size, limit=limit, device=device, runtime=runtime, optimized=optimized
    )
    for answers, batch in batches:
        outputs.append(answers)
        targets.append(batch.to("cpu").targets)
        held += sum(values.nbytes for values in answers.values())
        if held >= COLLECTED_BYTES:
            break
    joined, answers = _concatenate(outputs), _concatenate(targets)
    collected = CollectedOutputs(joined, answers)
    return collected if limit is None else collected.first(limit)


def _concatenate(parts: Sequence[Tensors]) -> Tensors:
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


@dataclass(frozen=True, eq=False)
class SplitComparison:
    """Two networks on the same samples of a split.

    Attributes:
        reference: Statistics of the deciding metric of the first network, (N,) or (N, S).
        other: Those of the second.
        agreement: Of their outputs.
        signal: Σ a² over the first network's float outputs.
        noise: Σ (a − b)².
    """

    reference: Array
    other: Array
    agreement: OutputAgreement
    signal: float
    noise: float


def compare_on_split(
    reference: Network, other: Network, split: Split, task: Task, *, batch_size: int = 64, other_batch_size: int | None = None
) -> SplitComparison:
    """Run two networks over a split side by side; no more than one batch of outputs is held of each.

    Args:
        reference: The first network.
        other: The second.
        split: Samples.
        task: Gives scores and agreement.
        batch_size: Samples per batch.
        other_batch_size: Of the second network; None for the same.

    Raises:
        DataError: The split is empty.
        ConversionError: A file cannot be loaded, or outputs have different shapes or are not finite.
    """
    scores: tuple[list[Array], list[Array]] = ([], [])
    agreements: list[OutputAgreement] = []
    signal = noise = 0.0
    pairs = _aligned(
        iterate_split(reference, split, task, batch_size=batch_size),
        iterate_split(other, split, task, batch_size=other_batch_size or batch_size),
    )
    for a, b, targets in pairs:
        for outputs, into in zip((a, b), scores, strict=True):
            into.append(task.deciding.scores(outputs, targets).numpy())
        agreements.append(task.agreement(a, b))
        for name, values in a.items():
            if values.is_floating_point():
                signal += float(values.double().square().sum())
                noise += float((values.double() - b[name].double()).square().sum())
    before, after = map(np.concatenate, scores)
    return SplitComparison(before, after, merge_agreements(agreements), signal, noise)


def record_outputs(network: Network, split: Split, task: Task, *, batch_size: int = 64) -> Network:
    """Outputs of a network on a whole split in place of the network, to be compared with several others.

    Returns:
        The outputs; the network itself where they are larger than `COLLECTED_BYTES`.
    """
    parts: list[Part] = []
    held = 0
    for outputs, batch in iterate_split(network, split, task, batch_size=batch_size):
        parts.append((outputs, batch._replace(inputs={INPUT: torch.empty(batch.size, 0)})))
        held += sum(values.nbytes for values in outputs.values())
        if held > COLLECTED_BYTES:
            return network
    return RecordedOutputs(tuple(parts))


@dataclass(frozen=True, eq=False)
class RecordedOutputs:
    """Outputs of a network on a split.

    Attributes:
        parts: Outputs and the batch, without its inputs, in the split's order.
    """

    parts: tuple[Part, ...]


Part = tuple[Tensors, Batch]


def _aligned(first: Iterator[Part], second: Iterator[Part]) -> Iterator[tuple[Tensors, Tensors, Tensors]]:
    """Outputs of two networks on the same samples, and their targets, though their batches are of different sizes."""
    rest: Tensors | None = None
    for outputs, batch in first:
        a, targets = outputs, batch.to("cpu").targets
        while _count(a):
            b = rest or next(second)[0]
            count = min(_count(a), _count(b))
            yield _rows(a, slice(count)), _rows(b, slice(count)), _rows(targets, slice(count))
            a, b, targets = (_rows(tensors, slice(count, None)) for tensors in (a, b, targets))
            rest = b if _count(b) else None


def _count(tensors: Tensors) -> int:
    return len(next(iter(tensors.values())))


def _rows(tensors: Tensors, index: slice) -> Tensors:
    return {name: values[index] for name, values in tensors.items()}


def iterate_split(
    network: Network,
    split: Split,
    task: Task,
    *,
    batch_size: int = 256,
    limit: int | None = None,
    device: str | torch.device = "cpu",
    runtime: str = "onnxruntime",
    optimized: bool = True,
) -> Iterator[tuple[Tensors, Batch]]:
    """Run a network over a split in order, not augmented, one batch at a time.

    A file whose batch is fixed gets batches of that size; the last one is padded with zeros, whose outputs are dropped. A file
    that quantizes by ranges of the whole batch gets one sample at a time, as a device does.

    Args:
        network: A module is left as it was; a copy is used on another device.
        split: Samples.
        task: Runs a module, and names the outputs.
        batch_size: Samples per batch, where the network's own is not fixed.
        limit: Stop after the batch that holds this sample.
        device: Where a torch module runs.
        runtime: What runs a file, as in a device profile.
        optimized: Fuse operators in ONNX Runtime; False runs each operator as the file has it.

    Yields:
        Named outputs (n, …), floats as float32, on the CPU, and their batch.

    Raises:
        DataError: The split is empty.
        ConversionError: The file cannot be loaded, or has other inputs than the data.
    """
    if isinstance(network, RecordedOutputs):
        yield from network.parts
        return
    samples = 0
    with _loaded(network, task, torch.device(device), runtime, optimized) as (infer, fixed):
        for batch in split.ordered(fixed or (1 if _has_batch_ranges(network) else batch_size)):
            yield infer(batch), batch
            samples += batch.size
            if limit is not None and samples >= limit:
                break
    if not samples:
        msg = "a split without samples cannot be evaluated; give it at least one"
        raise DataError(msg)


def _has_batch_ranges(network: RunnableNetwork) -> bool:
    """Whether an ONNX model finds the ranges of its activations anew in each batch."""
    path = network if isinstance(network, Path) else getattr(network, "path", None)
    if isinstance(network, onnx.ModelProto):
        model = network
    elif isinstance(path, Path) and path.suffix == ".onnx":
        model = read_graph(path)
    else:
        return False
    return any(node.op_type == "DynamicQuantizeLinear" for node in model.graph.node)


def pad_batch(inputs: Array, size: int | None) -> Array:
    """The batch, with zeros behind it up to `size` samples; None leaves it as it is."""
    if size is None or len(inputs) == size:
        return inputs
    return np.concatenate([inputs, np.zeros((size - len(inputs), *inputs.shape[1:]), inputs.dtype)])


@contextmanager
def _loaded(
    network: RunnableNetwork, task: Task, device: torch.device, runtime: str, optimized: bool
) -> Iterator[tuple[Inference, int | None]]:
    """What turns a batch into outputs, and the fixed batch size where the network has one."""
    if isinstance(network, nn.Module):
        module = network if module_device(network).type == device.type else copy.deepcopy(network).to(device)
        with eval_mode(module):
            yield _module_inference(module, task, device), None
    elif isinstance(network, onnx.ModelProto) or (isinstance(network, Path) and not optimized):
        session = onnx_session.create_session(network, optimised=optimized)
        shapes: Shapes = {entry.name: (tuple(entry.shape), entry.type) for entry in session.get_inputs()}
        yield _array_inference(lambda feeds: session.run(None, feeds), shapes, task, "the model")
    elif isinstance(network, Path):
        with open_runner(runtime, network, threads=0) as runner:
            yield _array_inference(runner.run, runner.shapes(), task, str(network))
    else:
        yield _array_inference(network.run, network.shapes(), task, str(network.path))


def _module_inference(module: nn.Module, task: Task, device: torch.device) -> Inference:
    def infer(batch: Batch) -> Tensors:
        with torch.no_grad():
            outputs = task.forward(module, batch.to(device).inputs)
        return {name: (values.float() if values.is_floating_point() else values).cpu() for name, values in outputs.items()}

    return infer


def _array_inference(
    run: Callable[[dict[str, Array]], Sequence[Array]], shapes: Shapes, task: Task, name: str
) -> tuple[Inference, int | None]:
    shape = next(iter(shapes.values()))[0] if shapes else ()
    fixed = shape[0] if shape and isinstance(shape[0], int) else None

    def infer(batch: Batch) -> Tensors:
        feeds = {key: pad_batch(array, fixed) for key, array in batch_feeds(batch, tuple(shapes), name).items()}
        outputs = (torch.from_numpy(array[: batch.size]) for array in run(feeds))
        return name_outputs(tuple(outputs), task.output_names)

    return infer, fixed


def batch_feeds(batch: Batch, names: Sequence[str], network: str) -> dict[str, Array]:
    """The inputs of a batch as arrays, by the names of a file's inputs.

    Args:
        batch: On the CPU.
        names: Of the file's inputs. One input takes that of the data, whatever its name.
        network: Names the file in messages.

    Raises:
        ConversionError: The file has other inputs than the data.
    """
    inputs = batch.inputs
    if len(names) == len(inputs) == 1:
        inputs = {names[0]: batch.input}
    if missing := [name for name in names if name not in inputs]:
        lacking, present = ", ".join(missing), ", ".join(batch.inputs)
        msg = f"{network} has inputs {', '.join(names)}; the data has no {lacking}, it gives {present}"
        raise ConversionError(msg)
    return {name: np.ascontiguousarray(inputs[name].numpy()) for name in names}
