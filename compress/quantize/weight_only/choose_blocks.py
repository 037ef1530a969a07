"""Choose the block size and accuracy level of `MatMulNBits` by measurement on this machine.

Larger blocks are faster and less accurate; accuracy level 4 is faster with few rows and slower with many, and rounds the
activations. Of the combinations whose loss of the metric is acceptable, the fastest at the typical sizes is taken; if there is
none, the one with the smallest loss. Networks that write texts are timed by requests, on the graph with past keys and values,
with prompts and further tokens apart, and the tokens that each combination changes are counted.
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
from compress.core.record import Metrics, Quantity
from compress.core.signature import Signature
from compress.core.stage import Context
from compress.profile.generation.serving_mix import time_mix
from compress.profile.latency.interleave import TimingPlan
from compress.profile.latency.timing import time_runners
from compress.profile.served_sizes import served_feeds
from compress.quantize.changed_tokens import count_changes, float_texts
from compress.quantize.schemes import SchemeOptions, build_models
from compress.quantize.settings import ServingMix
from compress.quantize.target_requirements import BLOCK_BITS, Scheme

BLOCKS, LEVELS = (32, 128), {4: (0, 4), 8: (4,)}
"""Block sizes, and accuracy levels by bits: products of 8-bit weights in float take many times those of float weights."""
RUNTIME = "onnxruntime"
SECONDS = 0.3
"""Timing of each combination."""


@dataclass(frozen=True, eq=False)
class BlockTrial:
    """What is measured.

    Attributes:
        scheme: One of `BLOCK_BITS`.
        model: Float network; not changed.
        source: Its file.
        signature: Inputs of the network, with the sizes of free axes.
        device: Profile of this machine.
        mix: Tokens of prompts and answers, of a network that writes texts; else None.
    """

    scheme: Scheme
    model: ir.Model
    source: Path
    signature: Signature
    device: Device
    mix: ServingMix | None = None


@dataclass(frozen=True)
class BlockLimits:
    """What a combination may lose.

    Attributes:
        loss: Largest loss of the metric.
        changed_tokens: Largest fraction of greedy tokens that change; None for any.
    """

    loss: float
    changed_tokens: float | None = None


@dataclass(frozen=True)
class BlockChoice:
    """The chosen combination.

    Attributes:
        options: Options with block size and accuracy level.
        rows: A row per combination: `block`, `accuracy_level`, its times, `drop`, of texts `changed_tokens`, and `chosen`.
    """

    options: SchemeOptions
    rows: tuple[Row, ...]


def choose_blocks(trial: BlockTrial, options: SchemeOptions, limits: BlockLimits, context: Context) -> BlockChoice:
    """Build, score and time the combinations of `BLOCKS` and `LEVELS`.

    Args:
        trial: Network and machine.
        options: Other options of the scheme.
        limits: What a combination may lose.
        context: Validation split and task.
    """
    plain = replace(options, rounding="nearest", batches=())  # a better rounding changes neither size nor time
    levels = LEVELS[BLOCK_BITS[trial.scheme]]
    combinations = {
        f"{block}_{level}": replace(plain, block=block, accuracy_level=level) for block, level in product(BLOCKS, levels)
    }
    with TemporaryDirectory() as folder:
        files = {name: Path(folder) / f"{name}.onnx" for name in combinations}
        for name, combination in combinations.items():
            onnx_files.save(build_models(trial.scheme, trial.model, (RUNTIME,), combination).models[RUNTIME], files[name])
        losses = {name: _loss(trial.source, path, context) for name, path in files.items()}
        changes = {} if trial.mix is None else _changes(trial.source, files, context)
        times = _times(trial, files, context)
    deciding = "latency_p50_ms" if trial.mix is None else "request_ms"
    latency = {name: _value(quantities[deciding]) for name, quantities in times.items()}
    acceptable = [name for name in files if losses[name] <= limits.loss and _may_change(changes.get(name, {}), limits)]
    chosen = min(acceptable, key=lambda name: latency[name]) if acceptable else min(losses, key=lambda name: losses[name])
    rows = tuple(
        {
            "block": combination.block,
            "accuracy_level": combination.accuracy_level,
            **{key: quantity.model_dump(mode="json") for key, quantity in (times[name] | changes.get(name, {})).items()},
            "drop": losses[name],
            "chosen": name == chosen,
        }
        for name, combination in combinations.items()
    )
    best = combinations[chosen]
    return BlockChoice(replace(options, block=best.block, accuracy_level=best.accuracy_level), rows)


def _loss(source: Path, path: Path, context: Context) -> float:
    task = context.task
    comparison = compare_on_split(source, path, context.data.validation, task)
    return -task.metric_info.gain(task.deciding.value(comparison.reference), task.deciding.value(comparison.other))


def _changes(source: Path, files: Mapping[str, Path], context: Context) -> dict[str, Metrics]:
    """Changed tokens of each file."""
    texts = float_texts(source, context)
    return {name: count_changes(path, texts).quantities() for name, path in files.items()}


def _may_change(changes: Metrics, limits: BlockLimits) -> bool:
    changed = changes.get("changed_tokens")
    return limits.changed_tokens is None or changed is None or _value(changed) <= limits.changed_tokens


def _value(quantity: Quantity) -> float:
    return float("inf") if quantity.value is None else quantity.value


def _feeds(trial: BlockTrial, context: Context) -> Feeds:
    """Example inputs of typical sizes, or samples of validation."""
    batch = trial.device.contract.batch
    feeds = served_feeds(trial.signature, batch)
    return next(iter(feeds.values())) if feeds else first_feeds(trial.model, context.data.validation, batch)


def _times(trial: BlockTrial, files: Mapping[str, Path], context: Context) -> dict[str, Metrics]:
    """Times of each file: of a request, its prompt and its further tokens, or of a run."""
    if (mix := trial.mix) is not None:
        times = time_mix(files, mix.prompt, mix.answer, threads=trial.device.threads)
        return {name: each.quantities() for name, each in times.items()}
    with ExitStack() as stack:
        runners = {
            name: stack.enter_context(open_runner(RUNTIME, path, threads=trial.device.threads)) for name, path in files.items()
        }
        feeds, plan = _feeds(trial, context), TimingPlan.of(SECONDS)
        timings = time_runners(runners, dict.fromkeys(runners, feeds), plan, batch=trial.device.contract.batch)
    return {name: {"latency_p50_ms": timing.p50} for name, timing in timings.items()}
