"""Device, precision and data-parallel processes of a training, by accelerate."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState, PartialState
from accelerate.utils import GradientAccumulationPlugin, InitProcessGroupKwargs, broadcast_object_list
from torch import nn

from compress.core.environment import world_size
from compress.core.errors import DeviceError, TrainingError, nearest
from compress.core.language import gettext
from compress.data.batch import Batch

Value = TypeVar("Value")

DEVICES = ("auto", "cpu", "cuda", "mps")
PROCESS_TIMEOUT = timedelta(hours=12)
"""How long a process waits for the others: the first process may compute the teacher logits of a large data set."""


def resolve_device(name: str) -> str:
    """`auto` → the fastest device of this machine; another name is checked and returned.

    Raises:
        DeviceError: The name is unknown, or this machine has no such device.
    """
    if name not in DEVICES:
        msg = gettext("unknown device {name!r}: {hint}", name=name, hint=nearest(name, DEVICES))
        raise DeviceError(msg)
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return next(device for device, is_available in available.items() if is_available)
    if not available[name]:
        msg = gettext(
            "device {name!r} is not available on this machine, or torch does not find it; use --device auto or cpu", name=name
        )
        raise DeviceError(msg)
    return name


def resolve_precision(name: str, device: str) -> str:
    """`auto` → bfloat16 on a GPU that computes it natively, else float32 (`no`).

    On CPUs `auto` is float32: without matrix instructions for bfloat16 a training step took 10 times as long.

    Raises:
        TrainingError: float16 on a CPU, where accelerate silently uses float32.
    """
    if name == "fp16" and device == "cpu":
        msg = gettext("precision 'fp16' needs a GPU; on a CPU use precision auto, no or bf16")
        raise TrainingError(msg)
    if name != "auto":
        return name
    return "bf16" if device == "cuda" and torch.cuda.get_device_capability()[0] >= 8 else "no"


@contextmanager
def accelerated(device: str, precision: str) -> Iterator[Accelerator]:
    """An accelerator for one training.

    Accelerate has process-wide singletons for device and precision. They are replaced for the block, so that a process can
    train several times with different settings, and restored afterwards.

    Args:
        device: `auto`, `cpu`, `cuda` or `mps`.
        precision: As in `Training`.
    """
    shared = [state._shared_state for state in (AcceleratorState, PartialState, GradientState)]
    copies = [dict(state) for state in shared]
    for state in shared:
        state.clear()
    try:
        resolved = resolve_device(device)
        yield Accelerator(
            cpu=resolved == "cpu",
            mixed_precision=resolve_precision(precision, resolved),
            gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
            kwargs_handlers=[InitProcessGroupKwargs(timeout=PROCESS_TIMEOUT)],
        )
    finally:
        for state, before in zip(shared, copies, strict=True):
            state.clear()
            state.update(before)


def shard_batch(batch: Batch, total: int, *, rank: int, world: int) -> tuple[Batch, float]:
    """The part of a batch for one process, and the weight of its mean loss; the weights of all processes sum to B / total.

    Batch norm needs two samples. A batch with fewer than two samples per process is computed by every process.

    Args:
        batch: The whole batch, B samples.
        total: Number of samples in all batches of this optimizer step.
        rank: Index of this process, from 0.
        world: Number of processes.
    """
    size = batch.size
    if size < 2 * world:
        return batch, size / total / world
    start, stop = size * rank // world, size * (rank + 1) // world
    return batch.rows(slice(start, stop)), (stop - start) / total


def barrier(device: str) -> None:
    """Wait until every process of this launch reaches this call; a single process returns at once."""
    if world_size() > 1:
        with accelerated(device, "no") as accelerator:
            accelerator.wait_for_everyone()


def run_on_main(accelerator: Accelerator, compute: Callable[[], Value]) -> Value:
    """Compute on the main process, and return the result on all processes."""
    values: list[Value | None] = [compute() if accelerator.is_main_process else None]
    value: Value = broadcast_object_list(values)[0]
    return value


def broadcast_weights(accelerator: Accelerator, module: nn.Module) -> None:
    """Copy weights and buffers of the main process to all processes, whose batch-norm statistics differ before."""
    if accelerator.num_processes > 1:
        for tensor in module.state_dict().values():
            torch.distributed.broadcast(tensor.data, src=0)


def data_parallel(accelerator: Accelerator, module: nn.Module) -> nn.Module:
    """The module itself, or wrapped so that its gradients are averaged over the processes."""
    if accelerator.num_processes == 1:
        return module
    devices = [accelerator.device] if accelerator.device.type == "cuda" else None
    return nn.parallel.DistributedDataParallel(module, device_ids=devices)
