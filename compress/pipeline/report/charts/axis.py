"""Scales of a chart: from values to positions, and the values at which a scale has ticks."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from compress.core.language import MINUS

LOG_FROM = 5.0
"""Smallest ratio of two positive values that is shown on a logarithmic scale."""
SMALLEST = 1e-60
"""Smallest value on a logarithmic scale, whose margin stays a positive number."""
MOST_TICKS = 7


@dataclass(frozen=True)
class Axis:
    """A scale.

    Attributes:
        label: Quantity and unit.
        low: Value at its start.
        high: Value at its end, above `low`.
        log: Whether it is logarithmic; both ends are positive then.
        inverted: Whether smaller values stand at its end.
        whole: Whether only whole numbers have ticks.
        marks: Values with ticks in place of round numbers, such as the measured sequence lengths; empty for round numbers.
    """

    label: str
    low: float
    high: float
    log: bool = False
    inverted: bool = False
    whole: bool = False
    marks: tuple[float, ...] = ()

    def position(self, value: float) -> float:
        """Place of a value, 0 at the start and 1 at the end; values outside are at the nearer end."""
        low, high = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        if self.log:
            value = math.log(max(value, self.low))
        share = min(1.0, max(0.0, (value - low) / (high - low)))
        return 1 - share if self.inverted else share

    @property
    def ticks(self) -> tuple[float, ...]:
        """Values with a tick, from low to high."""
        if self.marks:
            return self.marks
        values = tuple(value for value in _log_ticks(self.low, self.high) if self.low <= value <= self.high) if self.log else ()
        return values if len(values) > 1 else _linear_ticks(self.low, self.high, whole=self.whole)


def axis_of(
    label: str, values: Iterable[float], *, margin: float = 0.12, log: bool | None = None, inverted: bool = False
) -> Axis:
    """An axis over values with a margin at both ends.

    Args:
        label: Quantity and unit.
        values: Finite; may be empty.
        margin: Share of the span at each end.
        log: Whether it is logarithmic; None where all values are above `SMALLEST` and their ratio is `LOG_FROM` or more.
        inverted: Whether smaller values stand at its end.
    """
    known = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(known), max(known)
    if log is None:
        log = low > SMALLEST and high / low >= LOG_FROM
    if log:
        factor = (high / low) ** margin if high > low else 2.0
        return Axis(label, low / factor, high * factor, log=True, inverted=inverted)
    span = high - low
    if span <= 1e-9 * max(abs(low), abs(high)):
        span = abs(high) or 1.0
    return Axis(label, low - margin * span, high + margin * span, inverted=inverted)


def counted(axis: Axis) -> Axis:
    """The axis of numbers of steps or epochs: without margin, with ticks at whole numbers."""
    return replace(axis, whole=True)


def format_tick(value: float) -> str:
    """A tick's value: `0.05`, `10`, `1,000`, `1e+07`."""
    if value == 0:
        return "0"
    text = f"{value:,.10g}" if 1e-4 <= abs(value) < 1e6 else f"{value:.3g}"
    return text.replace("-", MINUS, 1) if value < 0 else text


def _linear_ticks(low: float, high: float, *, whole: bool) -> tuple[float, ...]:
    step = _nice((high - low) / (MOST_TICKS - 1))
    if whole:
        step = max(1.0, math.ceil(step))
    first = math.ceil(low / step - 1e-9)
    count = math.floor(high / step + 1e-9) - first + 1
    ticks = (float(f"{(first + index) * step:.12g}") for index in range(max(0, min(count, 2 * MOST_TICKS))))
    return tuple(dict.fromkeys(ticks))


def _nice(step: float) -> float:
    """The smallest of 1, 2, 2.5, 5 times a power of ten that is not below a step."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= step * (1 - 1e-9))


def _log_ticks(low: float, high: float) -> tuple[float, ...]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1, 2, 3, 5), (1, 2, 5), (1, 3), (1,)):
        ticks = tuple(factor * 10.0**decade for decade in decades for factor in factors)
        if len([tick for tick in ticks if low <= tick <= high]) <= MOST_TICKS:
            return ticks
    stride = math.ceil(len(decades) / MOST_TICKS)
    return tuple(10.0**decade for decade in decades[::stride])
