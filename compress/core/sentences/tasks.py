"""Sentences of tasks."""

from __future__ import annotations

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


SENTENCES: Sentences = {
    "tasks.value_at_constant": _value_at_constant,
    "tasks.false_alarms_over_rate": (
        "more false alarms than the threshold was chosen for: {value:.2%} of {samples} good test samples "
        "(95 % interval {low:.2%} to {high:.2%}), chosen for {bound:.2%}"
    ),
}
