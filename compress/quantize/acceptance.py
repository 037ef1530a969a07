"""Acceptance test on this machine: is the quantized network accurate enough, and not slower than the float network?

The float and quantized files of every runtime are timed in turns in one session. A network with free axes, such as a sequence
length, is timed at its typical sizes, which decide, and at its largest, see `served_sizes`. Of the quantized networks whose
loss of the metric is acceptable, the fastest is compared with the fastest float network. A criterion fails only if the whole
95 % interval is beyond its limit. If a criterion fails, the recipe's budget decides which network ships, see
`limits_only_quantized_meets`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from compress.backends.open_runner import file_for, open_runner
from compress.backends.run_split import SplitScores, run_split
from compress.backends.runner_protocol import FileRunner
from compress.core.budget import MB, Budget
from compress.core.entries import Row
from compress.core.errors import CompressError
from compress.core.fact import Fact
from compress.core.language import gettext, message_of
from compress.core.metric_limits import MetricLimit, allowed_loss
from compress.core.record import Metrics, Quantity
from compress.core.stage import Context
from compress.profile.compare_networks import median_ms
from compress.profile.latency.timing import Timing, speedup
from compress.quantize.acceptance_timing import FLOAT, QUANTIZED, AcceptanceCriteria, Candidate, rows_by_size, time_by_size
from compress.quantize.settings import ACCEPTED_LOSS
from compress.tasks.metric import TaskMetric
from compress.tasks.metric_quantity import loss_of


@dataclass(frozen=True)
class BudgetFigures:
    """Quantities of one file that the recipe's budget may limit.

    Attributes:
        size_bytes: Size of the file.
        latency_ms: Median latency on this machine in the fastest runtime.
        metrics: Metrics of the task on validation, by name.
    """

    size_bytes: int
    latency_ms: float
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class AcceptanceResult:
    """Result of the acceptance test.

    Attributes:
        passed: Whether the quantized network meets both criteria.
        rows: One per file and runtime: `network`, `runtime`, `version`, `latency_p50_ms`, loss of the metric.
        results: `acceptance_speedup`, `acceptance_drop`.
        skipped: Runtimes that do not run on this machine.
        note: Summary of the result.
        accurate: Whether the loss of the metric is acceptable.
        float_figures: Quantities of the float network.
        quantized_figures: Quantities of the quantized network.
        fastest: Fastest runtime of `FLOAT` and `QUANTIZED`.
        by_size: One row per size of free axes, file and runtime; empty if there is one size.
    """

    passed: bool
    rows: tuple[Row, ...]
    results: Metrics
    skipped: tuple[Fact, ...]
    note: Fact
    accurate: bool
    float_figures: BudgetFigures
    quantized_figures: BudgetFigures
    fastest: Mapping[str, str]
    by_size: tuple[Row, ...] = ()

    def table(self, ships: str) -> tuple[Row, ...]:
        """The rows with the column `chosen`; `ships` is the network that ships, `FLOAT` or `QUANTIZED`."""
        shipped = (ships, self.fastest[ships])
        return tuple({**row, "chosen": (row["network"], row["runtime"]) == shipped} for row in self.rows)


def check_acceptance(
    parent: Path, files: Mapping[str, Path], runtimes: Sequence[str], criteria: AcceptanceCriteria, context: Context
) -> AcceptanceResult:
    """Compare the quantized network with its float parent.

    Args:
        parent: Float ONNX file.
        files: Quantized ONNX files by runtime; a runtime without a file runs that of `onnxruntime`.
        runtimes: Runtimes of a device profile, the default first.
        criteria: Limits and settings.
        context: Validation split, task and reporter.

    Raises:
        CompressError: The first runtime does not run the files.
    """
    split = context.data.validation
    with ExitStack() as stack:
        runners, skipped = _open_runners(parent, files, runtimes, criteria.threads, stack)
        scores = {
            candidate: run_split(runner, split, context.task, batch_size=criteria.score_batch, every_metric=True)
            for candidate, runner in runners.items()
        }
        by_size = time_by_size(runners, criteria, context)
    sizes = {candidate: Path(runner.path).stat().st_size for candidate, runner in runners.items()}
    result = _result(next(iter(by_size.values())), scores, sizes, criteria, skipped, context.task.deciding)
    return replace(result, by_size=rows_by_size(by_size, result.fastest)) if len(by_size) > 1 else result


def _open_runners(
    parent: Path, files: Mapping[str, Path], runtimes: Sequence[str], threads: int, stack: ExitStack
) -> tuple[dict[Candidate, FileRunner], tuple[Fact, ...]]:
    """Load both files in every runtime; returns the runners, and facts on the runtimes that do not load both."""
    runners: dict[Candidate, FileRunner] = {}
    skipped = []
    for runtime in dict.fromkeys(runtimes):
        quantized = file_for(runtime, files, files["onnxruntime"])
        try:
            pair = [stack.enter_context(open_runner(runtime, path, threads=threads)) for path in (parent, quantized)]
        except CompressError as error:
            if not runners:
                raise
            skipped.append(Fact.of("quantize.runtime_unavailable", runtime, error=message_of(error)))
            continue
        runners |= {(FLOAT, runtime): pair[0], (QUANTIZED, runtime): pair[1]}
    return runners, tuple(skipped)


def _result(
    timings: Mapping[Candidate, Timing],
    scores: Mapping[Candidate, SplitScores],
    sizes: Mapping[Candidate, int],
    criteria: AcceptanceCriteria,
    skipped: tuple[Fact, ...],
    deciding: TaskMetric,
) -> AcceptanceResult:
    latency_ms = {candidate: median_ms(timing) for candidate, timing in timings.items()}
    floats = [candidate for candidate in timings if candidate[0] == FLOAT]
    fastest_float = min(floats, key=lambda candidate: latency_ms[candidate])
    metric, reference = deciding.info, scores[floats[0]].scores
    drops = {
        key: loss_of(deciding, reference, scores[key].scores, gettext("the float parent"), "validation")
        for key in timings
        if key[0] == QUANTIZED
    }
    max_loss = criteria.max_loss
    if max_loss is None:
        max_loss = allowed_loss(ACCEPTED_LOSS, metric, lambda: scores[floats[0]].metric)
    accurate = [candidate for candidate, drop in drops.items() if _is_accurate(drop, max_loss)]
    best = min(accurate or drops, key=lambda candidate: latency_ms[candidate])
    gain, drop = speedup(timings[fastest_float], timings[best]), drops[best]
    is_slower = gain.high is not None and gain.high < 1.0
    passed = bool(accurate) and not is_slower
    note = Fact.of(
        "quantize.acceptance",
        metric=metric.label,
        drop=drop.value,
        low=drop.low,
        high=drop.high,
        max_drop=max_loss,
        accurate=bool(accurate),
        slower=is_slower,
        runtime=best[1],
        latency_ms=latency_ms[best],
        float_runtime=fastest_float[1],
        float_latency_ms=latency_ms[fastest_float],
    )
    rows = tuple(
        {
            "network": candidate[0],
            "runtime": candidate[1],
            "version": timing.settings["runtime"],
            "latency_p50_ms": timing.p50.model_dump(mode="json"),
            metric.loss_name: drops[candidate].model_dump(mode="json") if candidate in drops else None,
        }
        for candidate, timing in timings.items()
    )
    float_figures, quantized_figures = (
        BudgetFigures(sizes[key], latency_ms[key], scores[key].metrics) for key in (fastest_float, best)
    )
    results = {"acceptance_speedup": gain, "acceptance_drop": drop}
    fastest = dict((fastest_float, best))
    return AcceptanceResult(passed, rows, results, skipped, note, bool(accurate), float_figures, quantized_figures, fastest)


def _is_accurate(drop: Quantity, max_loss: float) -> bool:
    """Whether the lower end of the loss is within the limit, or the loss itself where there is no interval."""
    lowest = drop.value if drop.low is None else drop.low
    return lowest is not None and lowest <= max_loss


def limits_only_quantized_meets(result: AcceptanceResult, context: Context, device: str) -> tuple[str, ...]:
    """Limits of the budget for which a quantized network ships although it failed the test; empty if the float network ships.

    The quantized network ships if it meets limits that the float network misses, and misses none that the float network meets.
    Only size, latency on this device and metrics on validation are compared. If the budget limits no metric, a quantized
    network that loses more than the test allows does not ship.

    Args:
        result: Result of the test.
        context: Budget of the recipe, and the teacher's record with its metrics on validation.
        device: Name of the profile of this machine.
    """
    budget, teacher = context.budget, context.previous_records[:1] if context.teachers else ()
    if budget is None:
        return ()
    limits = budget.metric_limits([metric.info for metric in context.task.metrics])
    quantities = {name: record.after.get(f"{name}_validation") for record in teacher for name in result.float_figures.metrics}
    references = {
        name: quantity.value for name, quantity in quantities.items() if quantity is not None and quantity.value is not None
    }
    missed_by_float, missed = (
        _missed(figures, budget, device) | _missed_by_metrics(figures, limits, references)
        for figures in (result.float_figures, result.quantized_figures)
    )
    deciding = context.task.metric
    limits_metric = any(limit.metric.name == deciding and (deciding in references or not limit.is_loss) for limit in limits)
    if not limits_metric and not result.accurate:
        return ()
    return tuple(sorted(missed_by_float - missed)) if missed < missed_by_float else ()


def _missed(figures: BudgetFigures, budget: Budget, device: str) -> set[str]:
    """Names of the limits on size and latency that a file misses."""
    upper = {
        "size_mb": (figures.size_bytes / MB, budget.size_mb),
        f"latency_ms on {device}": (figures.latency_ms, budget.typical_latency_ms.get(device)),
    }
    return {name for name, (value, limit) in upper.items() if limit is not None and value > limit}


def _missed_by_metrics(figures: BudgetFigures, limits: Sequence[MetricLimit], references: Mapping[str, float]) -> set[str]:
    """Names of the limits on metrics that a file misses; limits on metrics without a value are ignored."""
    available = [limit for limit in limits if limit.metric.name in figures.metrics]
    return {
        limit.name
        for limit in available
        if limit.exceeded_by(figures.metrics[limit.metric.name], references.get(limit.metric.name))
    }
