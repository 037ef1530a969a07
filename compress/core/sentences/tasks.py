"""Sentences of tasks."""

from __future__ import annotations

from compress.core.entries import number
from compress.core.fact import Fact
from compress.core.sentences.table import Sentences

_VALUE_AT_CONSTANT = (
    "the value {subject!r} is not significantly better than one answer for all samples: its {metric} is {value:.4g} "
    "({low:.4g} to {high:.4g}), that of the best such answer {constant:.4g}, on {samples} test samples"
)


def _value_at_constant(fact: Fact) -> str:
    if fact.values["value"] is None:
        return f"the value {fact.subject!r} has no error on the test samples: {fact.values['detail']}"
    return _VALUE_AT_CONSTANT.format(subject=fact.subject, **fact.values)


def _false_alarms(fact: Fact) -> str:
    rate, low, high, chosen = (f"{100 * number(fact.values, name):.2f}" for name in ("value", "low", "high", "bound"))
    return (
        f"more false alarms than the threshold was chosen for: {rate} % of {fact.values['samples']} good test samples "
        f"(95 % interval {low}–{high} %), chosen for {chosen} %"
    )


SENTENCES: Sentences = {
    "tasks.value_at_constant": _value_at_constant,
    "tasks.false_alarms_over_rate": _false_alarms,
}
