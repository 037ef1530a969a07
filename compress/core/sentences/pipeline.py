"""Sentences of the pipeline."""

from __future__ import annotations

from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.sentences.table import Sentences

_NO_GAIN = (
    "distillation gave no significant gain of {subject} over the control, the student trained alone for the same epochs: "
    "{difference:+.2f}{unit} on {samples} test samples{interval}"
)


def _no_gain_over_control(fact: Fact) -> str:
    unit = str(fact.values.get("unit", "points"))  # older records have only metrics that are fractions
    values = fact.values
    interval = "" if values.get("low") is None else gettext(" (95 % interval {low:+.2f} to {high:+.2f})", **values)
    shown = "" if unit == "1" else f" {gettext(unit)}"
    return gettext(_NO_GAIN, subject=fact.subject, **{**values, "interval": interval, "unit": shown})


def _no_metric_limit(fact: Fact) -> str:
    names = fact.values["names"]
    assert isinstance(names, tuple | list)  # noqa: S101  # JSON reads a tuple back as one
    limits = gettext(" or ").join(map(str, names))
    return gettext(
        "the budget sets no limit on the {subject}, so the verdict does not include it; set {limits}",
        subject=fact.subject,
        limits=limits,
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
    "pipeline.outputs_not_finite": (
        "the outputs of the network for {count} of {samples} samples of the {subject} split are NaN or infinite, and count as "
        "wrong"
    ),
    "pipeline.one_class_for_all": (
        "the network predicts the class {subject!r} for all {samples} test samples, so it meets no limit on its accuracy"
    ),
    "pipeline.at_chance": (
        "the network is not significantly better than chance: its {subject} is {value:.4g} on {samples} test samples, "
        "at chance {chance:.4g}"
    ),
    "pipeline.constant_outputs": (
        "the network gives all {samples} test samples the same outputs, whatever its input: its {subject} means nothing"
    ),
    "pipeline.input_not_used": (
        "the network is not significantly better than its own outputs assigned to other samples: its {subject} is {value:.4g} "
        "against {chance:.4g} on {samples} test samples (95 % interval of the gain {low:.4g} to {high:.4g}), so nothing shows "
        "that it uses its input"
    ),
    "pipeline.input_use_unknown": (
        "whether the network uses its input is unknown: the comparison with its own outputs assigned to other samples takes at "
        "least {least} test samples with outputs of one shape and a value of the {subject}, and the test split has {samples} "
        "samples"
    ),
    "pipeline.no_metric_limit": _no_metric_limit,
    "pipeline.no_gain_over_control": _no_gain_over_control,
    "pipeline.timed_alone": "timed after stage {index} · {subject}, in a session of its own, minutes apart from the other rows",
}
