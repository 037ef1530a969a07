"""Replaces `compress.core.record` on a device without pydantic: the same quantities as plain data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Quantity:
    """A number with its provenance; same fields as `compress.core.record.Quantity`."""

    value: float | None
    unit: str
    how: str
    detail: str = ""
    low: float | None = None
    high: float | None = None
    runs: int | None = None
    session: str = ""

    @classmethod
    def measured(
        cls, value: float, unit: str, detail: str = "", *, interval: tuple[float, float] | None = None, runs: int | None = None
    ) -> Quantity:
        """A measured or counted number."""
        low, high = interval or (None, None)
        return cls(value, unit, "measured", detail, low, high, runs)

    @classmethod
    def missing(cls, unit: str, reason: str) -> Quantity:
        """A number that was not measured, and why."""
        return cls(None, unit, "not measured", reason)


Metrics = dict[str, Quantity]
