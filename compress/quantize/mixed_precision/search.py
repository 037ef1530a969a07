"""Run the mixed-precision search of the settings and describe its result for the record."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from compress.backends import onnx_files
from compress.backends.feeds import first_feeds
from compress.backends.open_runner import open_runner
from compress.core.entries import Row
from compress.core.errors import ConversionError
from compress.core.fact import Fact
from compress.core.metric_limits import allowed_loss
from compress.core.network_spec import NetworkSpec
from compress.core.stage import Context
from compress.profile.compare_networks import median_ms
from compress.profile.latency.interleave import TimingPlan
from compress.profile.latency.timing import time_runners
from compress.quantize.mixed_precision import fewest_float_layers, under_budget
from compress.quantize.mixed_precision.deadline import Deadline
from compress.quantize.mixed_precision.fewest_float_layers import FewestFloatResult, Layers
from compress.quantize.mixed_precision.trial import RUNTIME, TrialBuilder, TrialPlan
from compress.quantize.mixed_precision.under_budget import BudgetResult
from compress.quantize.settings import MIXED_LOSS, MixedPrecisionSettings
from compress.quantize.target_requirements import latency_unavailable, local_device

if TYPE_CHECKING:
    from compress.profile.latency.timing import Timing

SEARCH_S, FINAL_S = 0.1, 0.5
"""Timing of a network during the search, and of the result."""


@dataclass(frozen=True)
class MixedPrecisionResult:
    """Result of a search for the stage.

    Attributes:
        float_layers: Layers that stay in float.
        note: Summary for the record.
        rows: One row per layer for the record.
        within_budget: Whether the result is within the budget.
    """

    float_layers: Layers
    note: Fact
    rows: tuple[Row, ...]
    within_budget: bool


def search_mixed_precision(
    settings: MixedPrecisionSettings,
    plan: TrialPlan,
    excluded: tuple[str, ...],
    spec: NetworkSpec,
    context: Context,
    *,
    batch_size: int = 64,
) -> MixedPrecisionResult:
    """Search for the layers that stay in float; the best network so far is always in the folder of the stage.

    Args:
        settings: Budget and time limit.
        plan: Plan from which networks are built.
        excluded: Names of nodes that always stay in float.
        spec: Metadata for the files.
        context: Data, task, folder and targets.
        batch_size: Samples per batch of the quantized network.

    Raises:
        ConversionError: A latency is the budget, and no target is this machine.
    """
    trials = TrialBuilder(plan, excluded, spec, context, batch_size=batch_size)
    if not settings.cost_limits:
        metric = context.task.metric_info
        limit = settings.loss_limit(metric)
        max_loss = allowed_loss(MIXED_LOSS, metric, trials.float_metric) if limit is None else limit
        return _fewest_float_layers(settings, max_loss, trials)
    if settings.max_bytes is not None:
        result = under_budget.search(
            trials.layers, trials.evaluate, trials.size_bytes, budget=settings.max_bytes,
            deadline=Deadline(settings.seconds), on_improvement=trials.save, reporter=context.reporter,
        )  # fmt: skip
        return _budget_result(result, trials, settings, "bytes", settings.max_bytes)
    assert settings.latency_ms is not None  # noqa: S101  # the settings have one of the three budgets
    with TemporaryDirectory() as folder:
        return _under_latency(settings, settings.latency_ms, trials, LatencyTrial(trials, Path(folder)))


def _fewest_float_layers(settings: MixedPrecisionSettings, max_loss: float, trials: TrialBuilder) -> MixedPrecisionResult:
    result = fewest_float_layers.search(
        trials.layers, trials.evaluate, budget=max_loss, deadline=Deadline(settings.seconds), on_improvement=trials.save,
        reporter=trials.context.reporter,
    )  # fmt: skip
    rows = tuple({"layer": row.layer, "drop": row.drop, "sqnr_db": row.sqnr_db} for row in result.sensitivities)
    note = _note(result, trials, settings, "drop", max_loss, result.drop)
    return MixedPrecisionResult(result.float_layers, note, rows, result.within_budget)


def _under_latency(
    settings: MixedPrecisionSettings, max_ms: float, trials: TrialBuilder, latency: LatencyTrial
) -> MixedPrecisionResult:
    """Search, then time the result for longer, and quantize its least useful layers while it exceeds the budget."""
    result = under_budget.search(
        trials.layers, trials.evaluate, latency.latency_ms, budget=max_ms, deadline=Deadline(settings.seconds),
        on_improvement=trials.save, reporter=trials.context.reporter,
    )  # fmt: skip
    final_ms = latency.final_ms(result.float_layers)
    ranking = [gain.layer for gain in result.gains]
    while result.within_budget and result.float_layers and final_ms > max_ms:
        least_useful = max(result.float_layers, key=ranking.index)
        float_layers = tuple(name for name in result.float_layers if name != least_useful)
        trials.save(float_layers)
        final_ms = latency.final_ms(float_layers)
        result = replace(result, float_layers=float_layers, drop=trials.evaluate(float_layers)[0])
    result = replace(result, cost=final_ms, within_budget=result.within_budget and final_ms <= max_ms)
    return _budget_result(result, trials, settings, "ms", max_ms)


def _budget_result(
    result: BudgetResult, trials: TrialBuilder, settings: MixedPrecisionSettings, unit: str, budget: float
) -> MixedPrecisionResult:
    rows = tuple(
        {"layer": row.layer, "drop_saved": row.drop_saved, "noise_saved": row.noise_saved, f"{unit}_more": row.cost}
        for row in result.gains
    )
    note = _note(result, trials, settings, unit, budget, result.cost)
    return MixedPrecisionResult(result.float_layers, note, rows, result.within_budget)


def _note(
    result: FewestFloatResult | BudgetResult,
    trials: TrialBuilder,
    settings: MixedPrecisionSettings,
    unit: str,
    budget: float,
    cost: float,
) -> Fact:
    return Fact.of(
        "quantize.mixed_precision",
        float_layers=result.float_layers,
        layers=len(trials.layers),
        drop=result.drop,
        unit=unit,
        cost=cost,
        budget=budget,
        within_budget=result.within_budget,
        trials=result.trials,
        complete=result.complete,
        seconds=settings.seconds,
    )


class LatencyTrial:
    """Measures networks in ONNX Runtime on this machine, in turns with the network without float layers.

    The speed of a machine drifts by more than the cost of a layer. So a latency is the ratio to the network without float
    layers × the latency of that network at the start.

    Args:
        trials: Builds the networks.
        folder: Folder for their files.

    Raises:
        ConversionError: No target is this machine.
    """

    def __init__(self, trials: TrialBuilder, folder: Path) -> None:
        context = trials.context
        device = local_device(context.targets)
        if device is None:
            raise ConversionError(latency_unavailable(context.targets))
        self.trials, self.folder, self.threads = trials, folder, device.threads
        self.batch = device.contract.batch
        self.feeds = first_feeds(trials.plan.model, context.data.validation, self.batch)
        self._float_layers: dict[str, Layers] = {}
        self._baseline_ms: float | None = None

    def latency_ms(self, float_layers: Layers) -> float:
        """Median latency, ms, corrected for drift."""
        if self._baseline_ms is None:
            self._baseline_ms = median_ms(self._measure({"base": ()}, FINAL_S)["base"])
        if not float_layers:
            return self._baseline_ms
        timings = self._measure({"this": float_layers, "base": ()}, SEARCH_S)
        return self._baseline_ms * median_ms(timings["this"]) / median_ms(timings["base"])

    def final_ms(self, float_layers: Layers) -> float:
        """Median latency of a longer measurement, ms, not corrected."""
        return median_ms(self._measure({"this": float_layers}, FINAL_S)["this"])

    def _measure(self, networks: dict[str, Layers], seconds: float) -> dict[str, Timing]:
        """Measure networks in turns."""
        with ExitStack() as stack:
            files = {name: self._file(name, float_layers) for name, float_layers in networks.items()}
            runners = {
                name: stack.enter_context(open_runner(RUNTIME, path, threads=self.threads)) for name, path in files.items()
            }
            feeds = dict.fromkeys(runners, self.feeds)
            return time_runners(runners, feeds, TimingPlan.of(seconds), batch=self.batch)

    def _file(self, name: str, float_layers: Layers) -> Path:
        """File of a network; written only if it contains another network."""
        path = self.folder / f"{name}.onnx"
        if self._float_layers.get(name) != float_layers:
            onnx_files.save(self.trials.build(float_layers), path)
            self._float_layers[name] = float_layers
        return path
