"""Records of a run: quantities with provenance, stage records, the run record.

The report is rendered from records only, without a model. All records are frozen and round-trip through JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import Field, model_validator

from compress.core.class_comparison import ClassComparison
from compress.core.fact import Facts
from compress.core.frozen_model import FrozenModel
from compress.core.text import JsonWithTexts, Text

IntervalMethod = Literal["", "wilson", "paired", "bootstrap"]
How = Literal["measured", "estimated", "not measured"]
RecordedRow = Mapping[str, JsonWithTexts]
EXACT_UNITS = ("bytes", "MAC")
"""Units of sizes and counts, which are exact whatever the number of runs."""


def renamed(**names: str) -> object:
    """A validator that also reads fields under their names in older records, `old="new"`."""

    def read(values: object) -> object:
        return {names.get(name, name): value for name, value in values.items()} if isinstance(values, dict) else values

    return model_validator(mode="before")(read)


class Quantity(FrozenModel):
    """A number with its provenance.

    Attributes:
        value: The number; None if it was not measured.
        unit: Its unit: `fraction`, `ms`, `bytes`, `MAC`, `1`, `W`, `J`.
        how: Measured, estimated or not measured.
        detail: Where and how it was measured; the model that estimated it; or why it was not measured.
        low: Lower end of the 95 % interval (measured) or of the error band (estimated).
        high: Upper end of the interval or band.
        runs: Number of samples or runs of a measurement.
        session: For a latency, the key of the stage whose timing session measured it; else empty.
        method: How the interval of a metric was computed; empty for other quantities and in older records.
    """

    value: float | None = None
    unit: str
    how: How
    detail: Text = ""
    low: float | None = None
    high: float | None = None
    runs: int | None = None
    session: str = ""
    method: IntervalMethod = ""

    @classmethod
    def measured(
        cls,
        value: float,
        unit: str,
        detail: str = "",
        *,
        interval: tuple[float, float] | None = None,
        runs: int | None = None,
        method: IntervalMethod = "",
    ) -> Self:
        """A measured or counted number."""
        low, high = interval or (None, None)
        return cls(value=value, unit=unit, how="measured", detail=detail, low=low, high=high, runs=runs, method=method)

    @classmethod
    def estimated(cls, value: float, unit: str, model: str, *, band: tuple[float, float]) -> Self:
        """A number that `model` predicts, with its known error band."""
        return cls(value=value, unit=unit, how="estimated", detail=model, low=band[0], high=band[1])

    @classmethod
    def missing(cls, unit: str, reason: str) -> Self:
        """A number that was not measured, with the reason."""
        return cls(unit=unit, how="not measured", detail=reason)

    @property
    def is_bootstrapped(self) -> bool:
        """Whether the interval is from a bootstrap; older records say so in the detail only."""
        return self.method == "bootstrap" or (not self.method and "bootstrap" in self.detail)

    @property
    def is_sampled(self) -> bool:
        """Whether another sample or run would give another number: a metric, a latency, a power, not a size or a count."""
        return self.how == "measured" and self.runs is not None and self.unit not in EXACT_UNITS


Metrics = dict[str, Quantity]
"""Quantities of one candidate by name: `accuracy`, `accuracy_validation`, `size_bytes`, `parameters`, `macs`, `latency_ms`."""


class Metric(FrozenModel):
    """The deciding metric of a task.

    Attributes:
        name: Name in metrics and results, for example `top1`; other names are built from it, such as `NAME_validation`.
        label: Name for people.
        unit: As in `Quantity`.
        higher_is_better: Whether larger values are better.
    """

    name: str
    label: Text
    unit: str
    higher_is_better: bool

    def gain(self, before: float, after: float) -> float:
        """How much better `after` is than `before`, in the unit of the metric; negative if it is worse."""
        return after - before if self.higher_is_better else before - after

    @property
    def loss_name(self) -> str:
        """Name of the loss of the metric against a reference: `accuracy_drop`, `perplexity_rise`."""
        return f"{self.name}_{self.change}"

    @property
    def change(self) -> str:
        """Direction of a loss: `drop` or `rise`."""
        return "drop" if self.higher_is_better else "rise"


class Curve(FrozenModel):
    """A series to draw, for example the loss over epochs.

    Attributes:
        x_label: Quantity of the horizontal axis.
        y_label: Quantity of the vertical axis.
        x: Positions.
        y: Values at the positions; None where there is none.
    """

    x_label: str
    y_label: str
    x: tuple[float, ...]
    y: tuple[float | None, ...]


Arrival = Literal["back_to_back", "periodic", "cold"]
"""Arrival pattern of inputs: without pause, at a fixed rate, or with other data in the caches."""
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
        runtime: Runtime and version that ran the network, or that the estimate assumes.
        quantities: `latency_p50_ms`, `latency_p90_ms`, `latency_p99_ms`, `throughput_per_s`, `memory_bytes`, `size_bytes`,
            `power_w`, `energy_j`.
        file: Name of the file that ran, if a network has one per runtime; else empty.
        local: Measured on this machine, in one session with the other networks of the device.
        other_hardware: The measured hardware, if it is not that of the device profile; else empty.
        arrival: Arrival pattern of the latency that is reported first and that has limits.
        inputs: Shapes of the inputs of a run, with the sizes that are assumed; empty if the
            row does not have them.
    """

    subject: str
    device: str
    runtime: Text
    quantities: dict[str, Quantity]
    file: str = ""
    local: bool = False
    other_hardware: Text = ""
    arrival: Arrival = "back_to_back"
    inputs: Text = ""
    _older = renamed(here="local")

    @property
    def latency_name(self) -> str:
        """Name of the median latency for the arrival pattern of the row."""
        return LATENCY_BY_ARRIVAL[self.arrival]


LENGTHS = (16, 32, 64, 128, 256, 512)
"""Sequence lengths that are measured by default, as far as the network takes them."""


class LengthRow(FrozenModel):
    """Measurements of one network on one device at one sequence length and batch size.

    Attributes:
        subject: As in `BenchmarkRow`.
        device: Name of the device profile.
        runtime: Runtime and version that ran the network, or that the estimate assumes.
        axis: Name of the free axis, such as `sequence`.
        length: Its size in tokens.
        batch: Samples per run.
        quantities: `latency_p50_ms`, `latency_p95_ms`, `latency_p99_ms`, `throughput_per_s`, `tokens_per_s`, `memory_bytes`;
            of the artifact also `speedup_vs_…`. Where a length was not measured, they are missing with the reason.
        local: Measured on this machine, in one session with the other networks and lengths of the batch size.
    """

    subject: str
    device: str
    runtime: Text
    axis: str
    length: int
    batch: int
    quantities: dict[str, Quantity]
    local: bool = False


class StageRecord(FrozenModel):
    """Record of a finished stage.

    Attributes:
        index: Position in the chain; 0 is the teacher.
        name: Name of the stage in the recipe.
        key: Hash of its parameters, the key of its parent and the package version.
        parent_key: Key of the stage before it.
        form: Form of its output: `torch` or `onnx`.
        parameters: Resolved fields of the stage.
        before: Metrics of its input candidate.
        after: Metrics of its output candidate.
        results: Further quantities, depending on the kind of stage.
        benchmark_rows: Rows measured or estimated on devices.
        length_rows: The same by sequence length and batch size; empty for networks without a free axis of tokens.
        skipped: Skipped items with reasons.
        notes: Points for review.
        warnings: The notes that are shown at the head of the report and on the terminal: a missed target, a
            pruning step without speed-up, a criterion that was not met.
        curves: Series to draw, by name.
        tables: Rows by table name, for example pruning steps or layers; values are plain JSON.
        class_comparison: Classes of the test samples in the reference and in the output of this stage; None where the task
            gives samples no class, where the stage changed nothing, and in older records.
        seed: Seed of this stage.
        versions: Package versions in use.
        started: ISO 8601 in UTC.
        wall_time_s: Wall time, s.
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
    length_rows: tuple[LengthRow, ...] = ()
    skipped: Facts = ()
    notes: Facts = ()
    warnings: Facts = ()
    curves: dict[str, Curve] = Field(default_factory=dict)
    tables: dict[str, tuple[RecordedRow, ...]] = Field(default_factory=dict)
    class_comparison: ClassComparison | None = None
    seed: int
    versions: dict[str, str]
    started: str
    wall_time_s: float
    files: dict[str, str] = Field(default_factory=dict)
    _older = renamed(subjects="benchmark_rows")
