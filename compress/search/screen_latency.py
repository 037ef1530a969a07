"""Latency by the cost model first: a trial that cannot reach the front is not measured.

The cost model estimates the latency ê of the exported file before the profile stage. From the n measured trials with estimates
follow the ratios r_i = t_i / ê_i. A trial is measured, unless at the latency (1 − margin) · ê · min r_i a finished trial within
the budget is as good in every objective and better in one. Its latency is then an estimate, ê · median r_i with the band of the
ratios.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from statistics import median

from compress.config.devices import Device, load_device
from compress.config.search_settings import LatencySettings, Objective, objective_name, objective_parts
from compress.core.errors import CompressError
from compress.core.language import gettext
from compress.core.record import LATENCY_BY_ARRIVAL, BenchmarkRow, Quantity
from compress.core.registry_field import name_of
from compress.pipeline.executor import PipelineExecutor
from compress.profile.cost_model import estimate as cost_model
from compress.profile.cost_model.roofline_peaks import with_measured_peaks
from compress.search.front import TrialRow, dominates
from compress.search.measure_trial import TrialResult, measure_trial

LATENCY = "latency_ms"


def latency_objective(objectives: Sequence[Objective]) -> tuple[str, str]:
    """The name of the objective of latency, and its device.

    Raises:
        StopIteration: There is none; `check_objectives` reports it.
    """
    found = next(objective for objective in objectives if objective_parts(objective)[0] == LATENCY)
    return objective_name(found), objective_parts(found)[1]


def is_before_profile(executor: PipelineExecutor) -> bool:
    """Whether the next stage of a run is the last one and measures."""
    stages, finished = executor.plan.stages, executor.outputs[-1].record.index if executor.outputs else -1
    return finished == len(stages) - 1 and name_of("stage", stages[-1]) == "profile"


def estimate_latency(executor: PipelineExecutor, objectives: Sequence[Objective]) -> tuple[Path, float] | None:
    """The file of a run so far and its estimated latency, ms; None where there is no file or no estimate."""
    path = executor.outputs[-1].onnx()
    if path is None:
        return None
    device = screened_device(latency_objective(objectives)[1], executor.plan.base)
    try:
        return path, cost_model.estimate(path, device).latency_ms
    except CompressError:
        return None


@cache
def screened_device(name: str, base: Path) -> Device:
    """The profile of a device; the peaks of this machine are measured once for all trials of a process."""
    device = load_device(name, base)
    if device.connection == "local" and device.efficiency is None and cost_model.find_calibration(device)[0] is None:
        return with_measured_peaks(device, threads=device.threads)
    return device


def screen(
    executor: PipelineExecutor, rows: Sequence[TrialRow], directions: Mapping[str, bool], objectives: Sequence[Objective],
    settings: LatencySettings, estimated: tuple[Path, float],
) -> TrialResult | None:  # fmt: skip
    """The result of a trial that need not be measured, with its estimated latency; None if it is to be measured.

    Args:
        executor: The run, before its profile stage.
        rows: Trials of the study.
        directions: Objectives in order of importance, each with whether higher is better.
        objectives: What is optimized.
        settings: Those of the search.
        estimated: See `estimate_latency`.
    """
    name, device_name = latency_objective(objectives)
    ratios = ratios_of(rows, name)
    if settings.screen_after is None or len(ratios) < settings.screen_after:
        return None
    path, latency_ms = estimated
    device = screened_device(device_name, executor.plan.base)
    row = estimated_row(path, device, latency_ms, ratios)
    result = measure_trial(executor, objectives, rows=(row,))
    least_ms = (1 - settings.margin) * latency_ms * min(ratios)
    hopeful = result.model_copy(
        update={"objectives": {**result.objectives, name: Quantity.estimated(least_ms, "ms", "", band=(least_ms, least_ms))}}
    )
    best = TrialRow(-1, "finished", {}, hopeful)
    known = [row for row in rows if row.state == "finished" and row.is_feasible and _is_measured(row, name)]
    return result if any(dominates(row, best, directions) for row in known) else None


def ratios_of(rows: Sequence[TrialRow], name: str) -> list[float]:
    """Measured ÷ estimated latency of the measured trials that have both."""
    found = []
    for row in rows:
        if row.result is None or row.result.estimated_ms is None or row.state != "finished":
            continue
        latency = row.result.objectives[name]
        if _is_measured(row, name) and latency.value is not None:
            found.append(latency.value / row.result.estimated_ms)
    return found


def _is_measured(row: TrialRow, name: str) -> bool:
    return row.result is not None and row.result.objectives[name].how == "measured"


def estimated_row(path: Path, device: Device, latency_ms: float, ratios: Sequence[float]) -> BenchmarkRow:
    """The row of a profile with the estimated latency."""
    model = gettext(
        "cost model × {factor:.2f}, the median ratio to {count} measured trials; not near the front, so not measured",
        factor=median(ratios), count=len(ratios),
    )  # fmt: skip
    latency = Quantity.estimated(
        latency_ms * median(ratios), "ms", model, band=(latency_ms * min(ratios), latency_ms * max(ratios))
    )
    return BenchmarkRow(
        subject="artifact",
        device=device.name,
        runtime=gettext("{runtime} (assumed)", runtime=device.runtime),
        quantities={LATENCY_BY_ARRIVAL[device.contract.arrival]: latency},
        file=path.name,
        arrival=device.contract.arrival,
    )
