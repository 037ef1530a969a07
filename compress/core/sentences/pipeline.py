"""Sentences of the pipeline."""

from __future__ import annotations

from compress.core.entries import number, number_or_none
from compress.core.fact import Fact
from compress.core.format_quantity import difference_unit, format_interval, format_value
from compress.core.language import MINUS, gettext
from compress.core.record import Quantity
from compress.core.sentences.splits import of_splits
from compress.core.sentences.table import Sentences

_NO_GAIN = (
    "distillation gave no significant gain of {subject} over the control, the student trained alone for the same epochs: "
    "{difference}{unit} on {samples} test samples{interval}"
)


def _no_gain_over_control(fact: Fact) -> str:
    unit = str(fact.values.get("unit", "points"))  # older records have only metrics that are fractions
    values = fact.values
    low, difference, high = (number_or_none(values, name) for name in ("low", "difference", "high"))
    interval = ""
    if low is not None and high is not None:
        interval = gettext(" (95 % interval {low} to {high})", low=_signed(low, unit), high=_signed(high, unit))
    return gettext(
        _NO_GAIN,
        subject=fact.subject,
        difference=_signed(difference or 0.0, unit),
        unit="" if unit == "1" else f" {gettext(unit)}",
        samples=values["samples"],
        interval=interval,
    )


def _signed(value: float, unit: str) -> str:
    """A difference with its sign: of points to two decimals, else to three digits."""
    return f"{value:+.2f}".replace("-", MINUS) if unit == "points" else f"{value:+.3g}".replace("-", MINUS)


def _no_metric_limit(fact: Fact) -> str:
    names = fact.values["names"]
    assert isinstance(names, tuple | list)  # noqa: S101  # JSON reads a tuple back as one
    limits = gettext(" or ").join(map(str, names))
    return gettext(
        "the budget sets no limit on the {subject}, so the verdict does not include it; set {limits}",
        subject=fact.subject,
        limits=limits,
    )


def _unit(fact: Fact) -> str:
    """Unit of the metric of a fact; older records have none, and show plain numbers."""
    return str(fact.values.get("unit", "1"))


def _at_chance(fact: Fact) -> str:
    unit = _unit(fact)
    return gettext(
        "the network is not significantly better than chance: its {subject} is {value} on {samples} test samples, at chance "
        "{chance}",
        subject=fact.subject,
        value=format_value(number(fact.values, "value"), unit),
        samples=fact.values["samples"],
        chance=format_value(number(fact.values, "chance"), unit),
    )


def _answers_not_trained(fact: Fact) -> str:
    return gettext(
        "this stage does not train the answers of the network: all its losses compare layers, so that its {subject} of {value} "
        "says nothing; a later stage with other losses trains them",
        subject=fact.subject,
        value=format_value(number(fact.values, "value"), _unit(fact)),
    )


def _input_not_used(fact: Fact) -> str:
    unit = _unit(fact)
    low, high = number(fact.values, "low"), number(fact.values, "high")
    return gettext(
        "the network is not significantly better than its own outputs assigned to other samples: its {subject} is {value} "
        "against {chance} on {samples} test samples (95 % interval of the gain {interval}), so nothing shows that it uses its "
        "input",
        subject=fact.subject,
        value=format_value(number(fact.values, "value"), unit),
        chance=format_value(number(fact.values, "chance"), unit),
        samples=fact.values["samples"],
        interval=format_interval(Quantity.measured(low, unit, interval=(low, high)), difference_unit(unit)),
    )


SENTENCES: Sentences = {
    "pipeline.groups_do_not_fit": (
        "the groups of the data are those of {groups} samples, and the metric has statistics of {samples}, so no figures of "
        "groups are shown"
    ),
    "pipeline.groups_left_out": "figures are shown of the {shown} largest of {total} groups",
    "pipeline.network_not_readable": (
        "{subject} has attributes that cannot be compared between runs ({attributes}), so no stage is reused from an earlier "
        "run or by a later run"
    ),
    "pipeline.method_not_readable": (
        "the code of {subject} has parts that cannot be compared between runs ({attributes}), so this stage and the stages "
        "after it are not reused from an earlier run or by a later run"
    ),
    "pipeline.outputs_not_finite": of_splits(
        "the outputs of the network for {count} of {samples} samples of the {subject} split are NaN or infinite, and count as "
        "wrong"
    ),
    "pipeline.one_class_for_all": (
        "the network predicts the class {subject!r} for all {samples} test samples, so it meets no limit on its accuracy"
    ),
    "pipeline.at_chance": _at_chance,
    "pipeline.answers_not_trained": _answers_not_trained,
    "pipeline.constant_outputs": (
        "the network gives all {samples} test samples the same outputs, whatever its input: its {subject} means nothing"
    ),
    "pipeline.input_not_used": _input_not_used,
    "pipeline.input_use_unknown": (
        "whether the network uses its input is unknown: the comparison with its own outputs assigned to other samples takes at "
        "least {least} test samples with outputs of one shape and a value of the {subject}, and the test split has {samples} "
        "samples"
    ),
    "pipeline.no_metric_limit": _no_metric_limit,
    "pipeline.no_gain_over_control": _no_gain_over_control,
    "pipeline.timed_alone": "timed after stage {index} · {subject}, in a session of its own, minutes apart from the other rows",
}
