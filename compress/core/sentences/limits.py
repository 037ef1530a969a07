"""Words of a budget's limits, what they allow, and how they came out."""

from __future__ import annotations

from collections.abc import Mapping

from compress.core.format_quantity import difference_unit, format_interval, format_value
from compress.core.language import gettext, joined
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

INTERVALS: Mapping[tuple[bool, bool], str] = {
    (True, True): "{text}, but the band {interval} reaches across it",
    (True, False): "{text}, with the whole band {interval}",
    (False, True): "{text}, but the interval {interval} reaches across it",
    (False, False): "{text}, with the whole interval {interval}",
}
"""Sentences of an interval, by whether it is an error band, and whether it contains the limit."""


def _label(check: Check) -> str:
    """The label of the quantity; a record of an older version has it in English."""
    return gettext(check.label)


def result_words(result: Result) -> str:
    """The result of a limit, in words."""
    return gettext(RESULT_WORDS[result])


def limit_words(check: Check) -> str:
    """What is limited: `latency on host, back to back`."""
    if check.limit:
        return check.limit
    values = {"label": _label(check), "device": check.device, "length": check.length}
    if check.arrival:
        arrival = gettext(ARRIVAL_WORDS[check.arrival])
        if check.length:
            return gettext("{label} on {device} at length {length}, {arrival}", arrival=arrival, **values)
        return gettext("{label} on {device}, {arrival}", arrival=arrival, **values)
    if check.length:
        return gettext("{label} on {device} at length {length}", **values)
    return gettext("{label} on {device}", **values) if check.device else _label(check)


def allowed_words(check: Check) -> str:
    """The bound: `≤ 1 ms`."""
    if check.allowed:
        return check.allowed
    if check.bound is None:
        at_constant = check.reason is not None and check.reason.code == "tasks.value_at_constant"
        return gettext("better than a constant") if at_constant else gettext("better than chance")
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
        return joined((render(check.reason), _whom_it_fails(check)))
    quantity = check.quantity
    if quantity.value is None or check.bound is None:
        return gettext(
            "{limit} could not be measured: {reason}: not passed",
            limit=limit_words(check),
            reason=quantity.detail or gettext("no reason recorded"),
        )
    parts = [_place(check, quantity.value, check.bound)]
    if quantity.how == "estimated":
        parts.append(gettext("estimated, not measured: {model}", model=quantity.detail))
    if check.is_within and not check.passed:
        parts.append(gettext("the budget asks that the limit is shown to be kept (confidence: interval)"))
    return joined(parts)


def _place(check: Check, value: float, bound: float) -> str:
    """Where the value and its interval are."""
    quantity = check.quantity
    distance = _distance(value, bound, check.unit)
    text = gettext("within the limit") if check.is_within else gettext("outside the limit by {distance}", distance=distance)
    if quantity.low is not None and quantity.high is not None and quantity.low < quantity.high:
        band, values = quantity.how == "estimated", {"text": text, "interval": format_interval(quantity, check.unit)}
        return gettext(INTERVALS[band, check.is_across], **values)
    if check.lacks_interval:
        return gettext("{text}, but it has no interval ({count} samples or runs)", text=text, count=quantity.runs)
    return text


def _whom_it_fails(check: Check) -> str:
    label = _label(check)
    if check.reason is None or check_of(check.reason) is None:
        return gettext("this fails a budget without a limit on the {label}", label=label)
    if check.bound is None:
        return gettext("this fails every budget")
    return gettext("this fails a budget that limits metrics and not the {label}", label=label)


def _distance(value: float, bound: float, unit: str) -> str:
    distance = float(f"{abs(value - bound):.3g}")
    return format_value(distance, difference_unit(unit), exact=True)
