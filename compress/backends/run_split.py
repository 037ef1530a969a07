"""Run a network over a split. All evaluation goes through `iterate_split`, which streams batch by batch.

run_split        per-sample scores and the mean loss of a task; outputs are not held
collect_outputs  the outputs themselves, where two networks are compared sample by sample
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
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
from compress.data.batch import Batch, Split

if TYPE_CHECKING:
    from compress.tasks.base import Task

Network: TypeAlias = "nn.Module | FileRunner | Path | onnx.ModelProto"
"""A torch module, a loaded runner, an ONNX file, or an ONNX model in memory."""
Inference = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class SplitScores:
    """Result of a network on a split.

    Attributes:
        scores: The task's score of each sample, float32 (N,).
        loss: The task's loss, averaged over the samples.
        not_finite: Number of samples with an output that is NaN or infinite.
    """

    scores: Array
    loss: float
    not_finite: int = 0

    @property
    def metric(self) -> float:
        """The task's deciding metric: the mean of the scores."""
        return float(self.scores.mean())


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
        ConversionError: The file cannot be loaded, or has more than one input.
    """
    scores: list[Array] = []
    loss, not_finite = 0.0, 0
    for outputs, batch in iterate_split(network, split, batch_size=batch_size, device=device, runtime=runtime):
        targets = batch.target.cpu()
        scores.append(task.correct(outputs, targets).numpy())
        loss += float(task.loss(outputs, targets)) * len(targets)
        not_finite += int((~outputs.isfinite()).flatten(1).any(1).sum())
    return SplitScores(np.concatenate(scores), loss / sum(map(len, scores)), not_finite)


def collect_outputs(
    network: Network,
    split: Split,
    *,
    batch_size: int = 64,
    limit: int | None = None,
    device: str | torch.device = "cpu",
    runtime: str = "onnxruntime",
    optimized: bool = True,
) -> tuple[Array, Array]:
    """Outputs of a network on a split, for comparisons sample by sample.

    Args:
        network: See `iterate_split`, as are the other arguments.
        split: Samples.
        batch_size: Samples per batch.
        limit: Only so many first samples.
        device: Where a torch module runs.
        runtime: What runs a file.
        optimized: Fuse operators.

    Returns:
        Outputs (N, K), float32, and targets (N,), int64.

    Raises:
        DataError: The split is empty.
        ConversionError: The file cannot be loaded, or has more than one input.
    """
    outputs: list[Array] = []
    targets: list[Array] = []
    batches = iterate_split(
        network, split, batch_size=batch_size, limit=limit, device=device, runtime=runtime, optimized=optimized
    )
    for answers, batch in batches:
        outputs.append(answers.numpy())
        targets.append(batch.target.cpu().numpy())
    return np.concatenate(outputs)[:limit], np.concatenate(targets)[:limit]


def iterate_split(
    network: Network,
    split: Split,
    *,
    batch_size: int = 256,
    limit: int | None = None,
    device: str | torch.device = "cpu",
    runtime: str = "onnxruntime",
    optimized: bool = True,
) -> Iterator[tuple[Tensor, Batch]]:
    """Run a network over a split in order, not augmented, one batch at a time.

    A file whose batch is fixed gets batches of that size; the last one is padded with zeros, whose outputs are dropped. A file
    that quantizes by ranges of the whole batch gets one sample at a time, as a device does.

    Args:
        network: A module is left as it was; a copy is used on another device.
        split: Samples.
        batch_size: Samples per batch, where the network's own is not fixed.
        limit: Stop after the batch that holds this sample.
        device: Where a torch module runs.
        runtime: What runs a file, as in a device profile.
        optimized: Fuse operators in ONNX Runtime; False runs each operator as the file has it.

    Yields:
        Outputs (n, K), float32 on the CPU, and their batch.

    Raises:
        DataError: The split is empty.
        ConversionError: The file cannot be loaded, or has more than one input.
    """
    samples = 0
    with _loaded(network, torch.device(device), runtime, optimized) as (infer, fixed):
        for batch in split.ordered(fixed or (1 if _has_batch_ranges(network) else batch_size)):
            yield infer(batch.input), batch
            samples += batch.size
            if limit is not None and samples >= limit:
                break
    if not samples:
        msg = "a split without samples cannot be evaluated; give it at least one"
        raise DataError(msg)


def _has_batch_ranges(network: Network) -> bool:
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
def _loaded(network: Network, device: torch.device, runtime: str, optimized: bool) -> Iterator[tuple[Inference, int | None]]:
    """What turns inputs into outputs, and the fixed batch size where the network has one."""
    if isinstance(network, nn.Module):
        module = network if module_device(network).type == device.type else copy.deepcopy(network).to(device)
        with eval_mode(module):
            yield _module_inference(module, device), None
    elif isinstance(network, onnx.ModelProto) or (isinstance(network, Path) and not optimized):
        session = onnx_session.create_session(network, optimised=optimized)
        shapes: Shapes = {entry.name: (tuple(entry.shape), entry.type) for entry in session.get_inputs()}
        yield _array_inference(lambda feeds: session.run(None, feeds)[0], shapes, "the model")
    elif isinstance(network, Path):
        with open_runner(runtime, network, threads=0) as runner:
            yield _array_inference(lambda feeds: runner.run(feeds)[0], runner.shapes(), str(network))
    else:
        yield _array_inference(lambda feeds: network.run(feeds)[0], network.shapes(), str(network.path))


def _module_inference(module: nn.Module, device: torch.device) -> Inference:
    def infer(inputs: Tensor) -> Tensor:
        with torch.no_grad():
            outputs: Tensor = module(inputs.to(device, non_blocking=True))
        return outputs.float().cpu()

    return infer


def _array_inference(run: Callable[[dict[str, Array]], Array], shapes: Shapes, name: str) -> tuple[Inference, int | None]:
    if len(shapes) != 1:
        msg = f"{name} has inputs {list(shapes)}; accuracy is measured on networks with one"
        raise ConversionError(msg)
    ((input_name, (shape, _)),) = shapes.items()
    fixed = shape[0] if shape and isinstance(shape[0], int) else None

    def infer(inputs: Tensor) -> Tensor:
        array = np.ascontiguousarray(inputs.numpy())
        return torch.from_numpy(run({input_name: pad_batch(array, fixed)})[: len(array)])

    return infer, fixed
