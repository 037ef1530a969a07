"""The verdict on a run: limits of its budget against what was measured. Frozen, and round-trips through JSON."""

from __future__ import annotations

from typing import Literal

from compress.core.fact import Fact, Facts
from compress.core.frozen_model import FrozenModel
from compress.core.record import Arrival, Quantity, renamed
from compress.core.text import Text

Result = Literal["met", "not shown", "missed"]
"""Of a limit: the value is within it, and so is its whole interval, or it is exact; the value is, but an interval that reaches
across the limit, the lack of an interval or an estimate does not show it; the value is not, or there is none."""


class Check(FrozenModel):
    """Comparison of a quantity with a limit of the budget.

    `compress.core.sentences.limits` makes its words.

    Attributes:
        quantity: The measured or estimated quantity.
        passed: Whether the recipe takes it as kept: where the result is met, and where it is not shown unless the budget asks
            for `confidence: interval`.
        name: Name of the quantity.
        label: The quantity in words.
        device: Name of the device profile, of a limit on one device.
        arrival: Arrival pattern of a limit on a latency.
        length: Sequence length of a limit on a latency; None for the typical one, and for networks without tokens.
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
    label: Text = ""
    device: str = ""
    arrival: Arrival | None = None
    length: int | None = None
    bound: float | None = None
    unit: str = ""
    is_lower_bound: bool = False
    reason: Fact | None = None
    limit: str = ""
    allowed: str = ""
    explanation: str = ""
    _older = renamed(found="quantity")

    @property
    def quantity_name(self) -> str:
        """Name of the quantity; older records have only the text of the limit, from which it follows."""
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
    def lacks_interval(self) -> bool:
        """Whether the value is a sampled one without an interval, so that it shows nothing of other samples or runs."""
        low, high = self.quantity.low, self.quantity.high
        return self.bound is not None and self.quantity.is_sampled and (low is None or high is None)

    @property
    def result(self) -> Result:
        """Met, met but not shown, or missed."""
        if not self.is_within:
            return "missed"
        return "not shown" if self.is_across or self.lacks_interval or self.quantity.how == "estimated" else "met"

    def _keeps(self, value: float) -> bool:
        assert self.bound is not None  # noqa: S101  # asked only where there is one
        return value >= self.bound if self.is_lower_bound else value <= self.bound


class Verdict(FrozenModel):
    """Whether a run is within its budget. A limit whose quantity was not measured does not pass.

    Attributes:
        passed: Whether all checks pass.
        checks: A check for each limit.
        notes: Points that the budget does not cover.
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
