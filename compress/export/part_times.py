"""Time of the parts of an artifact, in turns with the whole network on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from compress.backends.onnxruntime_runner import OnnxRuntimeRunner
from compress.backends.runner_protocol import Feeds
from compress.core.entries import Row
from compress.core.stage import Context
from compress.profile.latency.interleave import TimingPlan
from compress.profile.latency.timing import time_runners
from compress.profile.memory.memory import weights

SECONDS = 0.5
"""Timing of each part."""


class Part(NamedTuple):
    """What is timed under a name.

    Attributes:
        file: Name of its file.
        feeds: Its inputs.
        is_summed: Whether its time is a part of the sum of which each part has a share.
    """

    file: str
    feeds: Feeds
    is_summed: bool = True


def time_parts(folder: Path, parts: Mapping[str, Part], context: Context) -> list[Row]:
    """Weights, median latency and share of the sum of each part.

    Args:
        folder: Folder of the files.
        parts: By their names in the table.
        context: Of the stage.

    Raises:
        ConversionError: Inputs do not fit.
    """
    with ExitStack() as stack:
        files = {part.file: OnnxRuntimeRunner(folder / part.file) for part in parts.values()}
        for runner in files.values():
            stack.enter_context(runner)
        runners = {name: files[part.file] for name, part in parts.items()}
        plan = TimingPlan.of(SECONDS / 5 if context.smoke else SECONDS)
        feeds = {name: part.feeds for name, part in parts.items()}
        timings = time_runners(runners, feeds, plan, batch=1, reporter=context.reporter)
    median = {name: timing.p50 for name, timing in timings.items()}
    total = sum(median[name].value or 0.0 for name, part in parts.items() if part.is_summed)
    return [
        {
            "network": name,
            "file": part.file,
            "weights_mb": weights(folder / part.file) / 1e6,
            "latency_ms": median[name].model_dump(mode="json"),
            "share": (median[name].value or 0.0) / total if part.is_summed and total else None,
        }
        for name, part in parts.items()
    ]
