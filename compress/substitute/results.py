"""What the record says of an adapted network: what each step cost, what was replaced, what stays and why, and the time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from torch import nn

from compress.config.devices import Device
from compress.core.environment import is_main
from compress.core.errors import CompressError
from compress.core.record import Curve, Fact, InputSpec, Quantity
from compress.core.stage import Candidate, Context, Outcome
from compress.core.statistics import paired_difference
from compress.models.count_macs import count_network
from compress.profile import compare_networks as stopwatch
from compress.profile.latency.timing import speedup
from compress.substitute.apply import Replacement
from compress.substitute.choose_auto import Decisions
from compress.substitute.find_operators import ReplaceableOperators
from compress.substitute.operator_kinds import OPERATOR_KINDS
from compress.tasks.metric_quantity import proportion
from compress.train.history import History

if TYPE_CHECKING:
    from compress.substitute.stage import Substitute

Tables = dict[str, tuple[dict[str, Any], ...]]


@dataclass(frozen=True, eq=False)
class ReplacementStep:
    """The network at one point.

    Attributes:
        name: What was done last.
        correct: Per-sample scores on validation.
        macs: Of one sample.
        parameters: Of the network.
        old_statistics: Its score before the statistics of batch norms were counted anew; None where they were left.
    """

    name: str
    correct: np.ndarray
    macs: int
    parameters: int
    old_statistics: float | None = None

    @classmethod
    def of(cls, name: str, module: nn.Module, spec: InputSpec, correct: np.ndarray) -> Self:
        """Count a network."""
        counted = count_network(module, spec)
        return cls(name, correct, counted.macs, counted.parameters)

    @property
    def score(self) -> float:
        """The task's metric on validation."""
        return float(self.correct.mean())


@dataclass(frozen=True)
class SpeedupResult:
    """What the clock says."""

    results: dict[str, Quantity] = field(default_factory=dict)
    notes: tuple[Fact, ...] = ()
    tables: Tables = field(default_factory=dict)


def results(stage: Substitute, steps: Sequence[ReplacementStep], metric: str) -> dict[str, Quantity]:
    """Accuracy on the way, and what is left of the cost."""
    first, last = steps[0], steps[-1]
    healed = stage.recover.epochs > 0
    replaced = steps[-2] if healed else last
    lost, low, high = paired_difference(first.correct, last.correct)
    same = f"against the network as given, same {len(first.correct)} validation samples, paired 95 % interval"
    quantities = {
        f"{metric}_given": proportion(first.correct, "validation split, before"),
        f"{metric}_replaced": proportion(replaced.correct, "validation split, after the replacements, not trained"),
        f"{metric}_recovered": proportion(last.correct, "validation split, after recovery")
        if healed
        else Quantity.missing("fraction", "recover.epochs is 0"),
        f"{metric}_lost": Quantity.measured(lost, "fraction", same, interval=(low, high), runs=len(first.correct)),
    }
    for name in ("macs", "parameters"):
        ratio = getattr(last, name) / max(getattr(first, name), 1)
        quantities[f"{name}_ratio"] = Quantity.measured(ratio, "fraction", f"{name} kept of the network as given; counted")
    return quantities


def measure_speedup(
    stage: Substitute, parent: nn.Module, module: nn.Module, spec: InputSpec, context: Context
) -> SpeedupResult:
    """Time the adapted network against the one given, in turns; on the first process, and only where asked for."""
    if stage.timing_seconds == 0:
        return SpeedupResult({"adapt_speedup": Quantity.missing("1", "timing_seconds is 0")})
    if not is_main():
        return SpeedupResult()
    try:
        with stopwatch.exported({"as given": parent, "adapted": module}, spec) as files:
            timings = stopwatch.measure_interleaved(files, spec.shape, seconds=stage.timing_seconds)
            elsewhere = tuple(_predicted(files, device) for device in context.targets if device.connection != "local")
    except CompressError as error:
        return SpeedupResult(
            {"adapt_speedup": Quantity.missing("1", str(error))}, (Fact.of("substitute.not_timed", error=str(error)),)
        )
    gain = speedup(timings["as given"], timings["adapted"])
    rows = tuple({"network": name, "latency_ms": timing.p50.model_dump(mode="json")} for name, timing in timings.items())
    found: Tables = {"adapt_speed": rows, "adapt_speed_estimated": elsewhere}
    return SpeedupResult({"adapt_speedup": gain}, _slower(gain), {name: entries for name, entries in found.items() if entries})


def _slower(gain: Quantity) -> tuple[Fact, ...]:
    if gain.value is None or gain.high is None or gain.high > 1:
        return ()
    return (Fact.of("substitute.slower", speedup=gain.value, low=gain.low, high=gain.high),)


def _predicted(files: Mapping[str, Path], device: Device) -> dict[str, Any]:
    """What the cost model says of a target that is not at hand."""
    try:
        before, after = (stopwatch.estimated_file_ms(files[name], device) for name in ("as given", "adapted"))
    except CompressError as error:
        return {"target": device.name, "estimated_speedup": None, "note": str(error)}
    return {"target": device.name, "estimated_speedup": before / after, "note": "cost model of its profile, float32 graph"}


def tables(steps: Sequence[ReplacementStep], replacements: Sequence[Replacement], decisions: Decisions) -> Tables:
    """Steps, places, and what `auto` went by."""
    rows = [replacement.row for replacement in replacements]
    columns = dict.fromkeys(key for row in rows for key in row)
    found: Tables = {
        "adapt_steps": tuple(
            {
                "step": step.name,
                "accuracy_validation": step.score,
                "with_old_statistics": step.old_statistics,
                "macs": step.macs,
                "parameters": step.parameters,
            }
            for step in steps
        ),
        "replacements": tuple({key: row.get(key) for key in columns} for row in rows),
        "auto": decisions.rows,
    }
    return {name: entries for name, entries in found.items() if entries}


def curves(steps: Sequence[ReplacementStep], history: History) -> dict[str, Curve]:
    """Accuracy over the steps, and the curves of the recovery."""
    scores = [step.score for step in steps]
    over = Curve(
        x_label="step of the adaptation",
        y_label="accuracy_validation",
        x=tuple(float(number) for number in range(len(scores))),
        y=tuple(scores),
    )
    return {"adapting": over} | {f"recovery {name}": curve for name, curve in history.curves.items()}


def notes(decisions: Decisions, replacements: Sequence[Replacement]) -> tuple[Fact, ...]:
    """What was replaced and why, and the gates whose mean no layer absorbs."""
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


def left_by_auto(found: ReplaceableOperators, decisions: Decisions) -> tuple[Fact, ...]:
    """Places of kinds that `auto` leaves."""
    return tuple(
        Fact.of("substitute.kept_by_auto", name, **decision.gains)
        for decision in decisions.choices
        if not decision.to
        for name in found.places[decision.kind]
    )


def unchanged(stage: Substitute, candidate: Candidate, found: ReplaceableOperators, decisions: Decisions) -> Outcome:
    """The outcome where nothing is replaced."""
    missing = tuple(kind for kind in OPERATOR_KINDS if stage.asked(kind) and kind not in found.places)
    skipped = (*found.skipped, *left_by_auto(found, decisions))
    return Outcome(
        candidate,
        skipped=skipped,
        notes=(Fact.of("substitute.nothing_replaced", missing=missing),),
        tables={"auto": decisions.rows} if decisions.rows else {},
    )
