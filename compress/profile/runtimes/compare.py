"""Measure every entrant: memory and load time in a process of its own, agreement, metric, and latency in turns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from compress.backends.converted.convert import converter_of
from compress.backends.converted.missing_operators import missing_operators
from compress.backends.onnxruntime_runner import OnnxRuntimeRunner, provider_of
from compress.backends.open_runner import open_runner
from compress.backends.runner_protocol import Array, Feeds, pinned
from compress.config.devices import Device
from compress.core.entries import Row
from compress.core.errors import CompressError
from compress.core.language import gettext, message_of
from compress.core.progress import Reporter
from compress.core.record import Quantity
from compress.profile import power
from compress.profile.fastest_runtime import RuntimeAgreement, compare_runtimes
from compress.profile.latency.timing import Timing, speedup, time_runners
from compress.profile.memory import memory
from compress.profile.runtimes.entrants import Entrant
from compress.profile.runtimes.metric_check import MetricCheck
from compress.profile.settings import MeasurementSettings, sensor_targets

IN_PROCESS = ("load_ms", "memory_bytes", "memory_model_bytes")
"""Quantities of the process that loads a file."""
POWER_SECONDS = 1.0


@dataclass
class RuntimeResult:
    """What was measured of one entrant.

    Attributes:
        entrant: File and runtime.
        quantities: By name: `size_bytes`, `load_ms`, `memory_bytes`, `memory_model_bytes`, `latency_p50_ms`, `latency_p99_ms`,
            `energy_j`, and `metric` with data.
        version: Runtime with its version.
        agreement: Outputs against the ONNX file in ONNX Runtime without optimizations.
        reason: Why it was not measured.
        missing_operators: Operators that the converter or runtime lacks.
        keeps: Whether it keeps the metric; without data, whether its outputs agree.
        fastest: Whether it is the fastest of those.
    """

    entrant: Entrant
    quantities: dict[str, Quantity] = field(default_factory=dict)
    version: str = ""
    agreement: RuntimeAgreement | None = None
    reason: str = ""
    missing_operators: tuple[str, ...] = ()
    keeps: bool = False
    fastest: bool = False

    def as_row(self) -> Row:
        """Plain JSON."""
        entrant, agreement = self.entrant, self.agreement
        return {
            "subject": entrant.subject,
            "precision": entrant.precision,
            "runtime": entrant.runtime,
            "version": self.version,
            "carried": entrant.carried,
            **{name: quantity.model_dump(mode="json") for name, quantity in self.quantities.items()},
            "top1_agreement": None if agreement is None else agreement.top1,
            "largest_difference": None if agreement is None else min(agreement.difference, float(np.finfo(np.float32).max)),
            "keeps": self.keeps,
            "fastest": self.fastest,
            "reason": self.reason,
            "missing_operators": list(self.missing_operators),
        }


@dataclass(frozen=True)
class RuntimeComparison:
    """Settings of a comparison.

    Attributes:
        device: Profile of the device.
        plan: Threads and duration.
        feeds: Batches of inputs by subject: outputs are compared on all, the first is timed.
        check: Computes the metric, and compares it with that of the first float file in the first runtime; None without data.
    """

    device: Device
    plan: MeasurementSettings
    feeds: Mapping[str, Sequence[Feeds]]
    check: MetricCheck | None = None


def compare(entrants: Sequence[Entrant], request: RuntimeComparison, reporter: Reporter) -> tuple[RuntimeResult, ...]:
    """Measure entrants; one that fails has a reason, and the others are measured.

    Args:
        entrants: Files and runtimes.
        request: Settings.
        reporter: Shows progress.
    """
    results = [RuntimeResult(entrant, reason=entrant.reason) for entrant in entrants]
    expected: dict[Path, list[list[Array]]] = {}
    with reporter.bar(gettext("loading, comparing outputs"), len(results)) as bar:
        for result in results:
            if not result.reason:
                _try_alone(result, request, expected)
            bar.advance(note=result.entrant.name)
    running = [result for result in results if not result.reason]
    timings = _time(running, request, reporter) if running else {}
    finish(results, timings, request)
    return tuple(results)


def finish(results: Sequence[RuntimeResult], timings: Mapping[str, Timing], request: RuntimeComparison) -> None:
    """Name missing operators with the runtimes that have them, and mark the results that keep the metric and the fastest.

    Args:
        results: All results.
        timings: Times of those that ran, by name of the entrant.
        request: Settings.
    """
    for result in results:
        result.reason = _with_alternatives(result, results)
    _judge([result for result in results if not result.reason], timings, request)


def _with_alternatives(result: RuntimeResult, results: Sequence[RuntimeResult]) -> str:
    """The reason of a failure; where operators are missing, it names them and the runtimes that ran the same file."""
    missing = result.entrant.missing_operators or missing_operators(result.reason)
    if not missing:
        return result.reason
    entrant = result.entrant
    others = dict.fromkeys(
        each.entrant.runtime for each in results if not each.reason and each.entrant.subject == entrant.subject
    )
    result.missing_operators = missing
    values = {"runtime": entrant.runtime, "operators": ", ".join(missing), "reason": result.reason.strip()}
    if not others:
        return gettext("{runtime} lacks {operators}, and no other runtime here ran this file ({reason})", **values)
    return gettext(
        "{runtime} lacks {operators}; runtimes here that have it: {others} ({reason})", **values, others=", ".join(others)
    )


def _try_alone(result: RuntimeResult, request: RuntimeComparison, expected: dict[Path, list[list[Array]]]) -> None:
    """Load the file in another process, which may crash; then compare its outputs here and compute its metric."""
    entrant, threads = result.entrant, request.plan.threads
    batches = request.feeds[entrant.subject]
    assert entrant.file is not None  # noqa: S101  # entrants without a file have a reason
    family = entrant.runtime.partition(":")[0]
    provider = f"{memory.RUNNER}{family}" if converter_of(family) is not None else provider_of(entrant.runtime)
    try:
        found = memory.measured_quantities(entrant.file, batches[0], threads=threads, provider=provider)
    except memory.ProbeError as error:
        result.reason = error.why
        return
    result.quantities = {name: found[name] for name in IN_PROCESS}
    result.quantities["size_bytes"] = Quantity.measured(
        entrant.size_bytes, "bytes", gettext("all files that the runtime loads")
    )
    try:
        if entrant.source not in expected:
            with OnnxRuntimeRunner(entrant.source, threads=threads, level="off") as reference:
                expected[entrant.source] = [reference.run(batch) for batch in batches]
        with open_runner(entrant.runtime, entrant.file, threads=threads) as runner:
            result.agreement = compare_runtimes(expected[entrant.source], [runner.run(batch) for batch in batches])
            result.version = runner.describe()["runtime"]
        if request.check is not None:
            result.quantities["metric"] = request.check.score(entrant.file, entrant.runtime)
    except CompressError as error:
        result.reason = message_of(error)


def _time(results: Sequence[RuntimeResult], request: RuntimeComparison, reporter: Reporter) -> dict[str, Timing]:
    """Time all files in turns."""
    with ExitStack() as stack:
        stack.enter_context(pinned(request.plan.affinity))
        runners = {}
        for result in results:
            entrant = result.entrant
            assert entrant.file is not None  # noqa: S101  # checked by the caller
            runners[entrant.name] = stack.enter_context(
                open_runner(entrant.runtime, entrant.file, threads=request.plan.threads)
            )
        feeds = {result.entrant.name: request.feeds[result.entrant.subject][0] for result in results}
        timings = time_runners(runners, feeds, request.plan.timing, batch=1, reporter=reporter)
        actions = {name: partial(runner.run, feeds[name]) for name, runner in runners.items()}
        energy = power.measure(actions, power.open_sensors(sensor_targets(request.device)), seconds=POWER_SECONDS)
    for result in results:
        timing = timings[result.entrant.name]
        percentiles = timing.percentiles((50.0, 99.0))
        result.quantities |= {f"latency_p{percent:g}_ms": quantity for percent, quantity in percentiles.items()}
        result.quantities["energy_j"] = energy[result.entrant.name]["energy_j"]
    return timings


def _judge(results: Sequence[RuntimeResult], timings: Mapping[str, Timing], request: RuntimeComparison) -> None:
    """Mark results that keep the metric, and the fastest: another replaces it if its whole speed-up interval is above 1."""
    floats = [result for result in results if result.entrant.precision == "float"]
    first = (floats or [*results])[:1]
    best: RuntimeResult | None = None
    for result in results:
        result.keeps = _keeps(result, first[0], request)
        if not result.keeps:
            continue
        if best is None:
            best = result
            continue
        gain = speedup(timings[best.entrant.name], timings[result.entrant.name])
        if gain.low is not None and gain.low > 1.0:
            best = result
    if best is not None:
        best.fastest = True


def _keeps(result: RuntimeResult, first: RuntimeResult, request: RuntimeComparison) -> bool:
    metric, reference = result.quantities.get("metric"), first.quantities.get("metric")
    if metric is None or reference is None or request.check is None:
        return result.agreement is not None and result.agreement.holds
    return request.check.keeps(reference, metric)
