"""A missed check as a warning of a stage, and back: what a stage measured is judged where its record is read.

The values of such a warning are those of the check, so that record, report and verdict have the same numbers.
"""

from __future__ import annotations

from compress.core.entries import number_or_none, text
from compress.core.fact import Fact, Value
from compress.core.record import Quantity
from compress.core.verdict import Check

_NUMBERS = ("value", "low", "high", "bound")


def warning_of(code: str, subject: str, check: Check, **values: Value) -> Fact:
    """The warning of a missed check.

    Args:
        code: Kind of the warning.
        subject: What it is about.
        check: The check.
        **values: Further values for the sentence.
    """
    quantity = check.quantity
    numbers = {"value": quantity.value, "low": quantity.low, "high": quantity.high, "samples": quantity.runs}
    words = {"name": check.name, "label": check.label, "unit": quantity.unit, "detail": quantity.detail}
    bound = {"bound": check.bound, "is_lower_bound": check.is_lower_bound}
    return Fact.of(code, subject, **numbers, **words, **bound, **values)


def check_of(warning: Fact) -> Check | None:
    """The check of such a warning; None for other warnings."""
    values = warning.values
    if not {"name", "label", "unit", "detail", *_NUMBERS} <= values.keys():
        return None
    value, low, high, bound = (number_or_none(values, name) for name in _NUMBERS)
    samples = values.get("samples")
    quantity = Quantity(
        value=value,
        unit=text(values, "unit"),
        how="not measured" if value is None else "measured",
        detail=text(values, "detail"),
        low=low,
        high=high,
        runs=samples if isinstance(samples, int) else None,
    )
    return Check(
        quantity=quantity,
        passed=False,
        name=text(values, "name"),
        label=text(values, "label"),
        bound=bound,
        unit=quantity.unit,
        is_lower_bound=values.get("is_lower_bound") is True,
        reason=warning,
    )
