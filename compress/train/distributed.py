"""Device, precision and the processes that train together, through accelerate."""

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
from compress.data.batch import Batch

Value = TypeVar("Value")

DEVICES = ("auto", "cpu", "cuda", "mps")
PATIENCE = timedelta(hours=12)
"""How long a process waits for the others: the first may be computing teacher answers of a large data set."""


def resolve_device(name: str) -> str:
    """`auto` → the best device of this machine; anything else is checked.

    Raises:
        DeviceError: Unknown, or not on this machine.
    """
    if name not in DEVICES:
        msg = f"unknown device {name!r}: {nearest(name, DEVICES)}"
        raise DeviceError(msg)
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return next(device for device, available in there.items() if available)
    if not there[name]:
        msg = f"device {name!r} was asked for, but torch finds none on this machine; use --device auto or cpu"
        raise DeviceError(msg)
    return name


def resolve_precision(name: str, device: str) -> str:
    """`auto` → bfloat16 on a GPU that computes it natively, else float32 (`no`).

    On CPUs `auto` stays with float32: without matrix instructions for bfloat16 a training step was measured 10 times slower.

    Raises:
        TrainingError: float16 on a CPU, which accelerate would leave at float32 without a word.
    """
    if name == "fp16" and device == "cpu":
        msg = "precision 'fp16' needs a GPU; on a CPU use precision auto, no or bf16"
        raise TrainingError(msg)
    if name != "auto":
        return name
    return "bf16" if device == "cuda" and torch.cuda.get_device_capability()[0] >= 8 else "no"


@contextmanager
def accelerated(device: str, precision: str) -> Iterator[Accelerator]:
    """An accelerator for one training.

    Accelerate keeps device and precision in process-wide singletons; they are set anew for the block, so that one process may
    train several times with different settings, and the caller's own are put back afterwards.

    Args:
        device: `auto`, `cpu`, `cuda` or `mps`.
        precision: As in `Training`.
    """
    shared = [state._shared_state for state in (AcceleratorState, PartialState, GradientState)]
    saved = [dict(state) for state in shared]
    for state in shared:
        state.clear()
    try:
        place = resolve_device(device)
        yield Accelerator(
            cpu=place == "cpu",
            mixed_precision=resolve_precision(precision, place),
            gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
            kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE)],
        )
    finally:
        for state, before in zip(shared, saved, strict=True):
            state.clear()
            state.update(before)


def shard_batch(batch: Batch, total: int, *, rank: int, world: int) -> tuple[Batch, float]:
    """One process's part of a batch and the weight of its mean loss, so that the weights of all processes sum to B / total.

    A batch too small to give every process two samples, which batch norm needs, is computed by each of them.

    Args:
        batch: The whole batch, B samples.
        total: Samples of all batches of this optimizer step.
        rank: This process, from 0.
        world: All processes.
    """
    size = batch.size
    if size < 2 * world:
        return batch, size / total / world
    start, stop = size * rank // world, size * (rank + 1) // world
    return batch.rows(slice(start, stop)), (stop - start) / total


def barrier(device: str) -> None:
    """Wait until every process of this launch is here; alone, return at once."""
    if world_size() > 1:
        with accelerated(device, "no") as accelerator:
            accelerator.wait_for_everyone()


def run_on_main(accelerator: Accelerator, compute: Callable[[], Value]) -> Value:
    """Compute on the main process alone and give the result to all."""
    box: list[Value | None] = [compute() if accelerator.is_main_process else None]
    value: Value = broadcast_object_list(box)[0]
    return value


def broadcast_weights(accelerator: Accelerator, module: nn.Module) -> None:
    """Give all processes the main one's weights and buffers (batch norm statistics differ until then)."""
    if accelerator.num_processes > 1:
        for tensor in module.state_dict().values():
            torch.distributed.broadcast(tensor.data, src=0)


def data_parallel(accelerator: Accelerator, module: nn.Module) -> nn.Module:
    """The module itself, or wrapped so that its gradients are averaged over the processes."""
    if accelerator.num_processes == 1:
        return module
    devices = [accelerator.device] if accelerator.device.type == "cuda" else None
    return nn.parallel.DistributedDataParallel(module, device_ids=devices)
