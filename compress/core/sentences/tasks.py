"""Sentences of tasks."""

from __future__ import annotations

from compress.core.entries import number
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.sentences.table import Sentences


def _value_at_constant(fact: Fact) -> str:
    if fact.values["value"] is None:
        return gettext(
            "the value {value!r} has no error on the test samples: {reason}", value=fact.subject, reason=fact.values["detail"]
        )
    if fact.values["low"] is None:
        return gettext(
            "the value {subject!r} is not significantly better than one answer for all samples: its {metric} is {value:.4g}, "
            "that of the best such answer {constant:.4g}, on {samples} test samples",
            subject=fact.subject,
            **fact.values,
        )
    return gettext(
        "the value {subject!r} is not significantly better than one answer for all samples: its {metric} is {value:.4g} "
        "({low:.4g} to {high:.4g}), that of the best such answer {constant:.4g}, on {samples} test samples",
        subject=fact.subject,
        **fact.values,
    )


def _false_alarms(fact: Fact) -> str:
    rate, low, high, chosen = (f"{100 * number(fact.values, name):.2f}" for name in ("value", "low", "high", "bound"))
    return gettext(
        "more false alarms than the threshold was chosen for: {rate} % of {samples} good test samples "
        "(95 % interval {low}–{high} %), chosen for {chosen} %",
        rate=rate,
        samples=fact.values["samples"],
        low=low,
        high=high,
        chosen=chosen,
    )


SENTENCES: Sentences = {
    "tasks.class_not_recognised": (
        "nothing of the class {subject!r} is recognised in the {samples} test samples that have it; the {metric} is a mean "
        "over the classes and hides this"
    ),
    "tasks.value_at_constant": _value_at_constant,
    "tasks.false_alarms_over_rate": _false_alarms,
}
