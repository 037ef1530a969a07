"""Records of a run: quantities with their provenance, stage records, the run record.

The report is rendered from these alone, without a model. All of them are frozen and round-trip through JSON.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from compress.core.entries import Tables
from compress.core.fact import Fact, Facts
from compress.core.frozen_model import FrozenModel
from compress.core.network_spec import NetworkSpec

How = Literal["measured", "estimated", "not measured"]
Metrics = dict[str, "Quantity"]
"""Quantities of one candidate by name: `accuracy`, `accuracy_validation`, `size_bytes`, `parameters`, `macs`, `latency_ms`."""


def _renamed(**names: str) -> object:
    """A validator that reads fields under the names which older records have for them, given as `old="new"`."""

    def read(values: object) -> object:
        return {names.get(name, name): value for name, value in values.items()} if isinstance(values, dict) else values

    return model_validator(mode="before")(read)


class Quantity(FrozenModel):
    """One number with its provenance.

    Attributes:
        value: The number; None when not measured.
        unit: Its unit: `fraction`, `ms`, `bytes`, `MAC`, `1`, `W`, `J`.
        how: Measured, estimated or not measured.
        detail: Where and how it was measured; the model that estimated it; or why it was not measured.
        low: Lower end of the 95 % interval (measured) or of the error band (estimated).
        high: Upper end of it.
        runs: Number of samples or runs behind a measurement.
        session: Of a latency, the key of the stage whose timing session it is from; empty where there is none to name.
    """

    value: float | None = None
    unit: str
    how: How
    detail: str = ""
    low: float | None = None
    high: float | None = None
    runs: int | None = None
    session: str = ""

    @classmethod
    def measured(
        cls,
        value: float,
        unit: str,
        detail: str = "",
        *,
        interval: tuple[float, float] | None = None,
        runs: int | None = None,
    ) -> Self:
        """A number from an instrument or a count."""
        low, high = interval or (None, None)
        return cls(value=value, unit=unit, how="measured", detail=detail, low=low, high=high, runs=runs)

    @classmethod
    def estimated(cls, value: float, unit: str, model: str, *, band: tuple[float, float]) -> Self:
        """A number that `model` predicts, with the band of its known error."""
        return cls(value=value, unit=unit, how="estimated", detail=model, low=band[0], high=band[1])

    @classmethod
    def missing(cls, unit: str, reason: str) -> Self:
        """A number that was not measured, and why."""
        return cls(unit=unit, how="not measured", detail=reason)


class Metric(FrozenModel):
    """The metric of a task that decides.

    Attributes:
        name: As in metrics and results, for example `top1`; `NAME_validation` and `NAME_drop` are built from it.
        label: In words.
        unit: As in `Quantity`.
        higher_is_better: Its direction.
    """

    name: str
    label: str
    unit: str
    higher_is_better: bool

    def gain(self, before: float, after: float) -> float:
        """How much better `after` is than `before`, in the metric's unit; negative where it is worse."""
        return after - before if self.higher_is_better else before - after

    @property
    def loss_name(self) -> str:
        """Name of how much of it was lost against a reference: `accuracy_drop`, `perplexity_rise`."""
        return f"{self.name}_{self.change}"

    @property
    def change(self) -> str:
        """The direction that is a loss: `drop` or `rise`."""
        return "drop" if self.higher_is_better else "rise"


class Curve(FrozenModel):
    """A series to draw, for example the loss over epochs."""

    x_label: str
    y_label: str
    x: tuple[float, ...]
    y: tuple[float | None, ...]


Arrival = Literal["back_to_back", "periodic", "cold"]
"""How inputs arrive: without a pause, at a fixed rate, or with caches that hold other data."""
LATENCY_BY_ARRIVAL: dict[Arrival, str] = {
    "back_to_back": "latency_p50_ms",
    "periodic": "latency_periodic_ms",
    "cold": "latency_cold_ms",
}
"""Name of the median latency of each arrival pattern."""


class BenchmarkRow(FrozenModel):
    """Measurements of one network on one device: a row of the profile table.

    Attributes:
        subject: `teacher`, `student` (the network before compression), `artifact`.
        device: Name of the device profile.
        runtime: Runtime and version that ran it, or that the estimate assumes.
        quantities: `latency_p50_ms`, `latency_p90_ms`, `latency_p99_ms`, `throughput_per_s`, `memory_bytes`, `size_bytes`,
            `power_w`, `energy_j`.
        file: Name of the file that ran, where a network has one per runtime; else empty.
        local: Measured on this machine, in one session with the other networks of the device.
        other_hardware: Hardware that was measured, where it is not that of the device profile; else empty.
        arrival: Arrival pattern of the latency that is reported first and that limits mean.
        inputs: Shapes of the inputs of one run, and which of their sizes are typical ones that nobody gave; empty where the
            row does not say.
    """

    subject: str
    device: str
    runtime: str
    quantities: dict[str, Quantity]
    file: str = ""
    local: bool = False
    other_hardware: str = ""
    arrival: Arrival = "back_to_back"
    inputs: str = ""
    _older = _renamed(here="local")

    @property
    def latency_name(self) -> str:
        """Name of the median latency for the row's arrival pattern."""
        return LATENCY_BY_ARRIVAL[self.arrival]


class StageRecord(FrozenModel):
    """Record of a finished stage.

    Attributes:
        index: Position in the chain; 0 is the teacher.
        name: The stage's name in the recipe.
        key: Hash of its parameters, its parent's key and the package version.
        parent_key: Key of the stage before it.
        form: What it produced: `torch` or `onnx`.
        parameters: Its resolved fields.
        before: Metrics of its input candidate.
        after: Metrics of its output candidate.
        results: Further quantities, by the kind of stage.
        benchmark_rows: Rows measured or estimated on devices.
        skipped: What was skipped, with the reason.
        notes: For a reviewer.
        warnings: Those of the notes that stand at the head of the report and on the terminal: a missed target, a
            pruning step without speed-up, a criterion that was not met.
        curves: Series to draw, by name.
        tables: Rows by table name, for example pruning steps or layers; values are plain JSON.
        seed: Seed of this stage.
        versions: Package versions in use.
        started: ISO 8601 in UTC.
        wall_time_s: Seconds of work.
        files: SHA-256 by path relative to the stage's folder.
    """

    index: int
    name: str
    key: str
    parent_key: str
    form: Literal["torch", "onnx"]
    parameters: dict[str, object]
    before: Metrics
    after: Metrics
    results: Metrics = Field(default_factory=dict)
    benchmark_rows: tuple[BenchmarkRow, ...] = ()
    skipped: Facts = ()
    notes: Facts = ()
    warnings: Facts = ()
    curves: dict[str, Curve] = Field(default_factory=dict)
    tables: Tables = Field(default_factory=dict)
    seed: int
    versions: dict[str, str]
    started: str
    wall_time_s: float
    files: dict[str, str] = Field(default_factory=dict)
    _older = _renamed(subjects="benchmark_rows")


Result = Literal["met", "not shown", "missed"]
"""Of a limit: the value is within it, and so is its whole interval; the value is, but an interval that reaches across the limit
or an estimate does not show it; the value is not, or there is none."""


class Check(FrozenModel):
    """One limit of the budget against the quantity that it limits.

    `compress.core.sentences.limits` makes its words.

    Attributes:
        quantity: What was measured or estimated.
        passed: Whether the recipe takes it as kept: where the result is met, and where it is not shown unless the budget asks
            for `confidence: interval`.
        name: Name of the quantity.
        label: The quantity in words.
        device: Name of the device profile, of a limit on one device.
        arrival: Arrival pattern of a limit on a latency.
        bound: In the unit of the quantity; None where nobody set one.
        unit: To show the bound in.
        is_lower_bound: Whether the quantity must be at least the bound.
        reason: Why a limit that nobody set is missed.
        limit: The limit in words, in older records.
        allowed: The bound in words, in older records.
        explanation: The result in words, in older records.
    """

    quantity: Quantity
    passed: bool
    name: str = ""
    label: str = ""
    device: str = ""
    arrival: Arrival | None = None
    bound: float | None = None
    unit: str = ""
    is_lower_bound: bool = False
    reason: Fact | None = None
    limit: str = ""
    allowed: str = ""
    explanation: str = ""
    _older = _renamed(found="quantity")

    @property
    def quantity_name(self) -> str:
        """Name of the quantity; older records have only the limit's words, which follow it."""
        return self.name or self.limit.replace(" ", "_")

    @property
    def is_within(self) -> bool:
        """Whether the value, without its interval, is within the bound."""
        if self.bound is None or self.quantity.value is None:
            return self.passed and self.quantity.value is not None
        return self._keeps(self.quantity.value)

    @property
    def is_across(self) -> bool:
        """Whether the interval or band contains the bound."""
        low, high = self.quantity.low, self.quantity.high
        return self.bound is not None and low is not None and high is not None and low < self.bound < high

    @property
    def result(self) -> Result:
        """Met, met but not shown, or missed."""
        if not self.is_within:
            return "missed"
        return "not shown" if self.is_across or self.quantity.how == "estimated" else "met"

    def _keeps(self, value: float) -> bool:
        assert self.bound is not None  # noqa: S101  # asked only where there is one
        return value >= self.bound if self.is_lower_bound else value <= self.bound


class Verdict(FrozenModel):
    """Whether a run is within its budget. A limit whose quantity could not be measured does not pass.

    Attributes:
        passed: All checks are.
        checks: One for each limit.
        notes: What the budget does not say.
    """

    passed: bool
    checks: tuple[Check, ...]
    notes: Facts = ()

    @property
    def result(self) -> Result:
        """The worst result of its checks."""
        results = {check.result for check in self.checks}
        return next((result for result in RESULTS_FROM_WORST if result in results), "met")


RESULTS_FROM_WORST: tuple[Result, ...] = ("missed", "not shown", "met")


class RunRecord(FrozenModel):
    """A whole run: enough to render its report and to repeat it.

    Attributes:
        metric: The metric that decides; None in older records.
        further_metrics: The other metrics of the task.
        start: Metrics of the network before the first stage.
        skipped: What was left out of the data, and why.
        notes: How the starting network was built and exported.
        warnings: Those of these notes that stand at the head of the report.
        smoke: Whether it ran at toy size, so that none of its numbers means anything.
    """

    name: str
    recipe: dict[str, object]
    recipe_text: str
    spec: NetworkSpec
    data: dict[str, object]
    metric: Metric | None = None
    further_metrics: tuple[Metric, ...] = ()
    teacher: StageRecord | None
    start: Metrics
    skipped: Facts = ()
    notes: Facts = ()
    warnings: Facts = ()
    smoke: bool = False
    stages: tuple[StageRecord, ...]
    verdict: Verdict | None
    environment: dict[str, str]
    started: str
    wall_time_s: float

    @property
    def every_stage(self) -> tuple[StageRecord, ...]:
        """Records of the teacher, where there is one, and of the stages in order."""
        return (*((self.teacher,) if self.teacher else ()), *self.stages)

    def save(self, path: Path) -> None:
        """Write as JSON; for a whole-or-nothing write the caller passes a temporary path and renames it."""
        path.write_text(self.model_dump_json(indent=1), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read back what `save` wrote."""
        return cls.model_validate_json(path.read_text(encoding="utf-8"))
