"""The difference of one quantity between two runs, with its interval and what it shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import hypot
from typing import Literal

from compress.core.format_quantity import how_words
from compress.core.language import gettext
from compress.core.record import Quantity

Direction = Literal["better", "worse", "equal", "no difference shown", "not comparable"]
DIRECTIONS: Mapping[Direction, str] = {
    "better": "better",
    "worse": "worse",
    "equal": "equal",
    "no difference shown": "no difference shown",
    "not comparable": "not comparable",
}
"""Words of the directions."""
FROM_INTERVALS = "difference of two runs, from their 95 % intervals"
WITHOUT_INTERVALS = "difference of two values without intervals"
EXACT_TOLERANCE = 0.01
"""Share of the first value by which a quantity without an interval, such as a size, may differ and still counts as equal."""


@dataclass(frozen=True)
class Difference:
    """The second value minus the first.

    Attributes:
        quantity: The difference, in the unit of both; not measured, with the reason, where they cannot be compared.
        direction: What it shows.
    """

    quantity: Quantity
    direction: Direction


def difference(first: Quantity | None, second: Quantity | None, *, higher_is_better: bool) -> Difference:
    """Compare two independent estimates θ̂₁ and θ̂₂ with intervals (l₁, u₁) and (l₂, u₂).

    The interval of θ̂₂ − θ̂₁ is that of the method of variance estimates recovery, which needs only the two intervals and keeps
    their asymmetry:

        L = θ̂₂ − θ̂₁ − √((θ̂₂ − l₂)² + (u₁ − θ̂₁)²),   U = θ̂₂ − θ̂₁ + √((u₂ − θ̂₂)² + (θ̂₁ − l₁)²).

    On the same test samples it is wider than a paired interval would be, so it shows too little rather than too much.

    Args:
        first: Of the baseline.
        second: Of the other run.
        higher_is_better: Direction of the quantity.

    Source:
        Zou and Donner 2008, "Construction of confidence limits about effect measures: a general approach", Statistics in
        Medicine 27, eq. 2.
    """
    reason = _incomparable(first, second)
    if reason or first is None or second is None or first.value is None or second.value is None:
        either = second or first
        return Difference(Quantity.missing(either.unit if either else "1", reason), "not comparable")
    change = second.value - first.value
    sign = 1 if higher_is_better else -1
    if first.low is None or first.high is None or second.low is None or second.high is None:
        quantity = Quantity(value=change, unit=second.unit, how=second.how, detail=gettext(WITHOUT_INTERVALS))
        if abs(change) <= EXACT_TOLERANCE * abs(first.value):
            return Difference(quantity, "equal")
        return Difference(quantity, "better" if sign * change > 0 else "worse")
    low = change - hypot(second.value - second.low, first.high - first.value)
    high = change + hypot(second.high - second.value, first.value - first.low)
    quantity = Quantity(value=change, unit=second.unit, how=second.how, detail=gettext(FROM_INTERVALS), low=low, high=high)
    if low <= 0 <= high:
        return Difference(quantity, "equal" if low == high else "no difference shown")
    return Difference(quantity, "better" if sign * change > 0 else "worse")


def direction_words(direction: Direction) -> str:
    """What a difference shows, in words."""
    return gettext(DIRECTIONS[direction])


def _incomparable(first: Quantity | None, second: Quantity | None) -> str:
    for quantity, absent, unmeasured in (
        (first, gettext("the baseline did not record it"), gettext("not measured in the baseline")),
        (second, gettext("the run did not record it"), gettext("not measured in the run")),
    ):
        if quantity is None:
            return absent
        if quantity.value is None:
            return gettext("{text}: {reason}", text=unmeasured, reason=quantity.detail)
    if first is not None and second is not None and first.unit != second.unit:
        return gettext("in different units: {first} and {second}", first=first.unit, second=second.unit)
    if first is not None and second is not None and first.how != second.how:
        hows = how_words(first.how), how_words(second.how)
        return gettext("{first} in the baseline and {second} in the run", first=hows[0], second=hows[1])
    return ""
