"""Words of a budget's limits, what they allow, and how they came out."""

from __future__ import annotations

from collections.abc import Mapping

from compress.core.format_quantity import difference_unit, format_interval, format_value
from compress.core.language import gettext
from compress.core.record import Arrival
from compress.core.sentences import render
from compress.core.verdict import Check, Result
from compress.core.warned_check import check_of

ARRIVAL_WORDS: Mapping[Arrival, str] = {
    "back_to_back": "back to back",
    "periodic": "periodic inputs",
    "cold": "cold caches",
}
RESULT_WORDS: Mapping[Result, str] = {"met": "met", "not shown": "met, not shown", "missed": "missed"}


def limit_words(check: Check) -> str:
    """What is limited: `latency on host, back to back`."""
    if check.limit:
        return check.limit
    device = f" on {check.device}" if check.device else ""
    arrival = f", {ARRIVAL_WORDS[check.arrival]}" if check.arrival else ""
    length = f" at length {check.length}" if check.length else ""
    return f"{check.label}{device}{length}{arrival}"


def allowed_words(check: Check) -> str:
    """The bound: `≤ 1 ms`."""
    if check.allowed:
        return check.allowed
    if check.bound is None:
        at_constant = check.reason is not None and check.reason.code == "tasks.value_at_constant"
        return "better than a constant" if at_constant else "better than chance"
    return f"{'≥' if check.is_lower_bound else '≤'} {format_value(check.bound, check.unit, exact=True)}"


def certainty(check: Check) -> str:
    """Why a limit has its result, in a few words beside its value and interval."""
    quantity = check.quantity
    if check.reason is not None:
        return render(check.reason)
    if quantity.value is None:
        return gettext("not measured: {reason}", reason=quantity.detail or gettext("no reason recorded"))
    words = []
    if check.bound is not None and not check.is_within:
        words.append(gettext("outside by {distance}", distance=_distance(quantity.value, check.bound, check.unit)))
    estimated = quantity.how == "estimated"
    if check.is_across:
        words.append(
            gettext("the band reaches across the limit") if estimated else gettext("the interval reaches across the limit")
        )
    elif quantity.low is not None and quantity.high is not None and quantity.low < quantity.high and check.is_within:
        words.append(gettext("the whole band is within") if estimated else gettext("the whole interval is within"))
    if estimated:
        words.append(gettext("an estimate"))
    return "; ".join(words) or gettext("no interval")


def explain(check: Check) -> str:
    """How far the value is from the bound, whether its interval decides the case, and whether it is an estimate."""
    if check.explanation:
        return check.explanation
    if check.reason is not None:
        return f"{render(check.reason)}; {_whom_it_fails(check)}"
    quantity = check.quantity
    if quantity.value is None or check.bound is None:
        return f"{limit_words(check)} could not be measured: {quantity.detail or 'no reason recorded'}: not passed"
    text = (
        "within the limit" if check.is_within else f"outside the limit by {_distance(quantity.value, check.bound, check.unit)}"
    )
    if quantity.low is not None and quantity.high is not None and quantity.low < quantity.high:
        name = "band" if quantity.how == "estimated" else "interval"
        interval = f"{name} {format_interval(quantity, check.unit)}"
        text += f", but the {interval} reaches across it" if check.is_across else f", with the whole {interval}"
    elif check.lacks_interval:
        text += f", but it has no interval ({quantity.runs} samples or runs)"
    if quantity.how == "estimated":
        text += f"; estimated, not measured: {quantity.detail}"
    if check.is_within and not check.passed:
        text += "; the budget asks that the limit is shown to be kept (confidence: interval)"
    return text


def _whom_it_fails(check: Check) -> str:
    if check.reason is None or check_of(check.reason) is None:
        return f"this fails a budget without a limit on the {check.label}"
    if check.bound is None:
        return "this fails every budget"
    return f"this fails a budget that limits metrics and not the {check.label}"


def _distance(value: float, bound: float, unit: str) -> str:
    distance = float(f"{abs(value - bound):.3g}")
    return format_value(distance, difference_unit(unit), exact=True)
