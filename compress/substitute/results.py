"""Results of operator substitution for the record: metric and cost by step, replacements, skipped operators, speed-up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from torch import nn

from compress.backends.run_split import SplitScores
from compress.config.devices import Device
from compress.core.entries import Tables
from compress.core.environment import is_main
from compress.core.errors import CompressError
from compress.core.fact import Fact
from compress.core.language import gettext, message_of
from compress.core.network_spec import NetworkSpec
from compress.core.record import Curve, Quantity
from compress.core.stage import Candidate, Context, Outcome
from compress.models.count_macs import count_network
from compress.profile import compare_networks as stopwatch
from compress.profile.latency.timing import speedup
from compress.substitute.apply import Replacement
from compress.substitute.choose_auto import Decisions
from compress.substitute.find_operators import ReplaceableOperators
from compress.substitute.operator_kinds import OPERATOR_KINDS
from compress.tasks.metric import TaskMetric
from compress.tasks.metric_quantity import estimate, loss_of
from compress.train.history import History

if TYPE_CHECKING:
    from compress.substitute.stage import Substitute


@dataclass(frozen=True, eq=False)
class ReplacementStep:
    """The network after one step.

    Attributes:
        name: The step.
        scores: Statistics of the metric of each validation sample, (N,) or (N, S).
        score: The metric on validation.
        macs: MACs of one sample.
        parameters: Number of parameters.
        old_statistics: Score before the batch-norm statistics were recomputed; None if they were not.
    """

    name: str
    scores: np.ndarray
    score: float
    macs: int
    parameters: int
    old_statistics: float | None = None

    @classmethod
    def of(cls, name: str, module: nn.Module, spec: NetworkSpec, result: SplitScores) -> Self:
        """Count MACs and parameters of a network."""
        counted = count_network(module, spec)
        return cls(name, result.scores, result.metric, counted.macs, counted.parameters)


@dataclass(frozen=True)
class SpeedupResult:
    """Speed-up by the substitution, with tables and notes."""

    results: dict[str, Quantity] = field(default_factory=dict)
    notes: tuple[Fact, ...] = ()
    tables: Tables = field(default_factory=dict)


def results(stage: Substitute, steps: Sequence[ReplacementStep], deciding: TaskMetric) -> dict[str, Quantity]:
    """The metric after each phase, and the remaining cost."""
    metric, first, last = deciding.info.name, steps[0], steps[-1]
    has_recovery = stage.recover.epochs > 0
    replaced = steps[-2] if has_recovery else last
    quantities = {
        f"{metric}_original": estimate(deciding, first.scores, gettext("validation split, input network")),
        f"{metric}_replaced": estimate(
            deciding, replaced.scores, gettext("validation split, after the replacements, before fine-tuning")
        ),
        f"{metric}_recovered": estimate(deciding, last.scores, gettext("validation split, after fine-tuning"))
        if has_recovery
        else Quantity.missing(deciding.info.unit, gettext("recover.epochs is 0")),
        f"{metric}_lost": loss_of(deciding, first.scores, last.scores, gettext("the input network"), "validation"),
    }
    for name in ("macs", "parameters"):
        ratio = getattr(last, name) / max(getattr(first, name), 1)
        quantities[f"{name}_ratio"] = Quantity.measured(
            ratio, "fraction", gettext("{name} relative to the input network; counted", name=name)
        )
    return quantities


def measure_speedup(
    stage: Substitute, parent: nn.Module, module: nn.Module, spec: NetworkSpec, context: Context
) -> SpeedupResult:
    """Time the new network against the input network, interleaved; only on the first process."""
    if stage.timing_seconds == 0:
        return SpeedupResult({"substitution_speedup": Quantity.missing("1", gettext("timing_seconds is 0"))})
    if not is_main():
        return SpeedupResult()
    try:
        with stopwatch.exported({"original": parent, "substituted": module}, spec) as files:
            timings = stopwatch.measure_interleaved(files, spec.signature, seconds=stage.timing_seconds)
            elsewhere = tuple(_predicted(files, device) for device in context.targets if device.connection != "local")
    except CompressError as error:
        return SpeedupResult(
            {"substitution_speedup": Quantity.missing("1", message_of(error))},
            (Fact.of("substitute.not_timed", error=message_of(error)),),
        )
    gain = speedup(timings["original"], timings["substituted"])
    rows = tuple({"network": name, "latency_ms": timing.p50.model_dump(mode="json")} for name, timing in timings.items())
    timed: Tables = {"substitution_speed": rows, "substitution_speed_estimated": elsewhere}
    return SpeedupResult(
        {"substitution_speedup": gain}, _slower(gain), {name: entries for name, entries in timed.items() if entries}
    )


def _slower(gain: Quantity) -> tuple[Fact, ...]:
    if gain.value is None or gain.high is None or gain.high > 1:
        return ()
    return (Fact.of("substitute.slower", speedup=gain.value, low=gain.low, high=gain.high),)


def _predicted(files: Mapping[str, Path], device: Device) -> dict[str, object]:
    """Speed-up on another target by the cost model."""
    try:
        before, after = (stopwatch.estimated_file_ms(files[name], device) for name in ("original", "substituted"))
    except CompressError as error:
        return {"target": device.name, "estimated_speedup": None, "note": str(error)}
    return {
        "target": device.name,
        "estimated_speedup": before / after,
        "note": gettext("cost model of its profile, float32 graph"),
    }


def tables(steps: Sequence[ReplacementStep], replacements: Sequence[Replacement], decisions: Decisions, metric: str) -> Tables:
    """Steps, with the value of `metric` on validation, replacements, and the timings on which `auto` decided."""
    rows = [replacement.row for replacement in replacements]
    columns = dict.fromkeys(key for row in rows for key in row)
    named: Tables = {
        "substitution_steps": tuple(
            {
                "step": step.name,
                f"{metric}_validation": step.score,
                "with_old_statistics": step.old_statistics,
                "macs": step.macs,
                "parameters": step.parameters,
            }
            for step in steps
        ),
        "replacements": tuple({key: row.get(key) for key in columns} for row in rows),
        "auto": decisions.rows,
    }
    return {name: entries for name, entries in named.items() if entries}


def curves(steps: Sequence[ReplacementStep], history: History, metric: str) -> dict[str, Curve]:
    """The metric over the steps, and the curves of the fine-tuning."""
    scores = [step.score for step in steps]
    over_steps = Curve(
        x_label="substitution step",
        y_label=f"{metric}_validation",
        x=tuple(map(float, range(len(scores)))),
        y=tuple(scores),
    )
    return {"substitution": over_steps} | {f"recovery {name}": curve for name, curve in history.curves.items()}


def notes(decisions: Decisions, replacements: Sequence[Replacement]) -> tuple[Fact, ...]:
    """Replacements with their reasons, and the gates whose mean no layer absorbs."""
    facts = [
        Fact.of(
            "substitute.replaced",
            decision.kind,
            to=decision.to,
            places=sum(replacement.kind == decision.kind for replacement in replacements),
            **decision.gains,
        )
        for decision in decisions.choices
        if decision.to
    ]
    dropped = tuple(replacement.layer for replacement in replacements if replacement.dropped)
    if dropped:
        facts.append(Fact.of("substitute.gates_dropped", layers=dropped))
    return tuple(facts)


def left_by_auto(operators: ReplaceableOperators, decisions: Decisions) -> tuple[Fact, ...]:
    """Operators of kinds that `auto` does not replace."""
    return tuple(
        Fact.of("substitute.kept_by_auto", name, **decision.gains)
        for decision in decisions.choices
        if not decision.to
        for name in operators.places[decision.kind]
    )


def unchanged(stage: Substitute, candidate: Candidate, operators: ReplaceableOperators, decisions: Decisions) -> Outcome:
    """Outcome without replacements."""
    missing = tuple(kind for kind in OPERATOR_KINDS if stage.successor(kind) and kind not in operators.places)
    skipped = (*operators.skipped, *left_by_auto(operators, decisions))
    return Outcome(
        candidate,
        skipped=skipped,
        notes=(Fact.of("substitute.nothing_replaced", missing=missing),),
        tables={"auto": decisions.rows} if decisions.rows else {},
    )
