"""Choose the block size and accuracy level of `MatMulNBits` by measurement on this machine.

Larger blocks are faster and less accurate; accuracy level 4 is faster with few rows and slower with many, and rounds the
activations. Of the combinations whose loss of the metric is acceptable, the fastest at the typical sizes is taken; if there is
none, the one with the smallest loss.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx_ir as ir

from compress.backends import onnx_files
from compress.backends.compare_on_split import compare_on_split
from compress.backends.feeds import first_feeds
from compress.backends.open_runner import open_runner
from compress.backends.runner_protocol import Feeds
from compress.config.devices import Device
from compress.core.entries import Row
from compress.core.signature import Signature
from compress.core.stage import Context
from compress.profile.compare_networks import median_ms
from compress.profile.latency.interleave import TimingPlan
from compress.profile.latency.timing import Timing, time_runners
from compress.profile.served_sizes import served_feeds
from compress.quantize.schemes import SchemeOptions, build_models

BLOCKS, LEVELS = (32, 128), (0, 4)
RUNTIME = "onnxruntime"
SECONDS = 0.3
"""Timing of each combination."""


@dataclass(frozen=True)
class BlockChoice:
    """The chosen combination.

    Attributes:
        options: Options with block size and accuracy level.
        rows: A row per combination: `block`, `accuracy_level`, `latency_p50_ms`, `drop`.
    """

    options: SchemeOptions
    rows: tuple[Row, ...]


def choose_blocks(
    model: ir.Model,
    source: Path,
    options: SchemeOptions,
    signature: Signature,
    max_loss: float,
    context: Context,
    device: Device,
) -> BlockChoice:
    """Build, score and time the combinations of `BLOCKS` and `LEVELS`.

    Args:
        model: Float network; not changed.
        source: Its file.
        options: Other options of the scheme.
        signature: Inputs of the network, with the sizes of free axes.
        max_loss: Largest loss of the metric.
        context: Validation split and task.
        device: Profile of this machine.
    """
    plain = replace(options, rounding="nearest", batches=())  # a better rounding changes neither size nor time
    combinations = [replace(plain, block=block, accuracy_level=level) for block, level in product(BLOCKS, LEVELS)]
    losses: dict[str, float] = {}
    with TemporaryDirectory() as folder:
        files: dict[str, Path] = {}
        for combination in combinations:
            name = _name(combination)
            files[name] = Path(folder) / f"{name}.onnx"
            onnx_files.save(build_models("weight_int4", model, (RUNTIME,), combination).models[RUNTIME], files[name])
            losses[name] = _loss(source, files[name], context)
        timings = _times(files, _feeds(model, signature, device, context), device)
    latency = {name: median_ms(timing) for name, timing in timings.items()}
    acceptable = [name for name, loss in losses.items() if loss <= max_loss]
    chosen = min(acceptable, key=lambda name: latency[name]) if acceptable else min(losses, key=lambda name: losses[name])
    rows = tuple(
        {
            "block": combination.block,
            "accuracy_level": combination.accuracy_level,
            "latency_p50_ms": timings[_name(combination)].p50.model_dump(mode="json"),
            "drop": losses[_name(combination)],
            "chosen": _name(combination) == chosen,
        }
        for combination in combinations
    )
    best = next(combination for combination in combinations if _name(combination) == chosen)
    return BlockChoice(replace(options, block=best.block, accuracy_level=best.accuracy_level), rows)


def _name(options: SchemeOptions) -> str:
    return f"{options.block}_{options.accuracy_level}"


def _loss(source: Path, path: Path, context: Context) -> float:
    task = context.task
    comparison = compare_on_split(source, path, context.data.validation, task)
    return -task.metric_info.gain(task.deciding.value(comparison.reference), task.deciding.value(comparison.other))


def _feeds(model: ir.Model, signature: Signature, device: Device, context: Context) -> Feeds:
    """Example inputs of typical sizes, or samples of validation."""
    feeds = served_feeds(signature, device.contract.batch)
    return next(iter(feeds.values())) if feeds else first_feeds(model, context.data.validation, device.contract.batch)


def _times(files: Mapping[str, Path], feeds: Feeds, device: Device) -> dict[str, Timing]:
    with ExitStack() as stack:
        runners = {
            name: stack.enter_context(open_runner(RUNTIME, path, threads=device.threads)) for name, path in files.items()
        }
        plan = TimingPlan.of(SECONDS)
        return time_runners(runners, dict.fromkeys(runners, feeds), plan, batch=device.contract.batch)
