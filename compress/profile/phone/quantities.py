"""Quantities from the runs of a benchmark program: each is the median over its turns, with an interval over the turns.

A program prints statistics of its inferences and no single times. A percentile is therefore the median of the percentiles of
the turns, and is missing where a turn had too few inferences to have it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from compress.core.counted import files_in_turns, threads_text
from compress.core.language import gettext
from compress.core.record import LATENCY_BY_ARRIVAL, Metrics, Quantity
from compress.core.statistics import drifting_percentile_interval
from compress.profile.latency.interleave import Samples, Warmup
from compress.profile.latency.timing import Timing
from compress.profile.phone.benchmark_tools import BenchmarkTool, Turn


def timing_of_turns(turns: Sequence[Turn], settings: Mapping[str, str], location: str, files: int, batch: int) -> Timing:
    """A timing whose samples are the typical times of the turns, one each, for ratios against other files.

    Args:
        turns: Runs of the program.
        settings: Runtime settings by name.
        location: Device, for people.
        files: Number of files timed in turns.
        batch: Samples per inference.
    """
    samples = Samples(np.array([turn.typical_ms for turn in turns]), np.arange(len(turns)), Warmup(1, 0.0, True))
    detail = gettext(
        "{location}, {runtime}, {threads}, batch {batch}, {files}",
        location=location,
        runtime=settings["runtime"],
        threads=threads_text(settings["threads"]),
        batch=batch,
        files=files_in_turns(files),
    )
    return Timing(samples, settings, detail, batch)


def latency_quantities(
    turns: Sequence[Turn], timing: Timing, tool: BenchmarkTool, percentiles: Sequence[float], periodic: Turn | None
) -> Metrics:
    """Latency, throughput, load time and memory of one file.

    Args:
        turns: Runs of the program.
        timing: The timing of these turns.
        tool: The program.
        percentiles: Percentiles of the measurement protocol.
        periodic: A run with inferences at a fixed rate; None if there is none.
    """
    metrics: Metrics = {"latency_mean_ms": _over_turns([turn.mean_ms for turn in turns], turns, "ms", timing)}
    printed = sorted({50.0, *percentiles, *turns[0].percentiles})
    metrics |= {f"latency_p{percent:g}_ms": _percentile(percent, turns, timing, tool) for percent in printed if _shown(percent)}
    metrics |= _by_arrival(tool, periodic, timing)
    rates = [1000.0 * timing.batch / turn.typical_ms for turn in turns]
    metrics["throughput_per_s"] = _over_turns(rates, turns, "1/s", timing)
    for name in ("load_ms", "first_ms"):
        values = [value for turn in turns if (value := getattr(turn, name)) is not None]
        key = {"first_ms": "latency_first_ms"}.get(name, name)
        reason = gettext("{tool} did not print it", tool=tool.name)
        metrics[key] = _over_turns(values, turns, "ms", timing, runs=len(values)) if values else Quantity.missing("ms", reason)
    return metrics | _memory(turns, timing, tool)


def _shown(percent: float) -> bool:
    """Whether a percentile is of interest: those of the lower half are not."""
    return percent >= 50.0


def _percentile(percent: float, turns: Sequence[Turn], timing: Timing, tool: BenchmarkTool) -> Quantity:
    values = [value for turn in turns if (value := turn.percentiles.get(percent)) is not None]
    if len(values) < len(turns):
        reason = gettext("{tool} does not print p{percent:g}; it prints the mean", tool=tool.name, percent=percent)
        return Quantity.missing("ms", reason)
    needed, fewest = math.ceil(1 / (1 - percent / 100)), min(turn.runs for turn in turns)
    if fewest < needed:
        reason = gettext(
            "p{percent:g} needs {needed} inferences in each turn, one turn had {fewest}; raise `seconds`",
            percent=percent,
            needed=needed,
            fewest=fewest,
        )
        return Quantity.missing("ms", reason)
    return _over_turns(values, turns, "ms", timing)


def _over_turns(
    values: Sequence[float], turns: Sequence[Turn], unit: str, timing: Timing, *, runs: int | None = None
) -> Quantity:
    """Median over the turns with its interval."""
    detail = gettext("{detail}; median over {turns} runs of the program", detail=timing.detail, turns=len(values))
    count = sum(turn.runs for turn in turns) if runs is None else runs
    interval = drifting_percentile_interval(values, 0.5)
    return Quantity.measured(float(np.median(values)), unit, detail, interval=interval, runs=count)


def _by_arrival(tool: BenchmarkTool, periodic: Turn | None, timing: Timing) -> Metrics:
    """Latency with other arrival patterns, or why it is missing."""
    cold = gettext("{tool} does not fill the caches with other data", tool=tool.name)
    quantities = {LATENCY_BY_ARRIVAL["cold"]: Quantity.missing("ms", cold)}
    name = LATENCY_BY_ARRIVAL["periodic"]
    if periodic is None:
        reason = gettext("{tool} starts each inference when the one before ends", tool=tool.name)
        return quantities | {name: Quantity.missing("ms", reason)}
    if 50.0 not in periodic.percentiles:
        reason = gettext("{tool} does not print p{percent:g}; it prints the mean", tool=tool.name, percent=50.0)
        return quantities | {name: Quantity.missing("ms", reason)}
    detail = gettext("{detail}; inferences at a fixed rate, one run of the program", detail=timing.detail)
    return quantities | {name: Quantity.measured(periodic.percentiles[50.0], "ms", detail, runs=periodic.runs)}


def _memory(turns: Sequence[Turn], timing: Timing, tool: BenchmarkTool) -> Metrics:
    """Memory that the program prints: that of its process, or what it grew by."""
    readings = [turn.memory for turn in turns if turn.memory is not None]
    unread = gettext("{tool} did not print it", tool=tool.name)
    quantities = {name: Quantity.missing("bytes", unread) for name in ("memory_bytes", "memory_model_bytes")}
    if readings:
        name, worst = readings[0][0], max(value for _, value in readings)
        how = {
            "memory_bytes": gettext("peak of the process of {tool}", tool=tool.name),
            "memory_model_bytes": gettext(
                "growth of the peak of {tool} since its start, approximate as it says", tool=tool.name
            ),
        }[name]
        detail = gettext("{location}: {detail}", location=timing.detail, detail=how)
        quantities[name] = Quantity.measured(worst, "bytes", detail, runs=len(readings))
    return quantities
