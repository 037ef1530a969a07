"""Sentences of the pipeline."""

from __future__ import annotations

from compress.core.fact import Fact
from compress.core.sentences.table import Sentences

_NO_GAIN = (
    "distillation gave no significant gain of {subject} over the control, the student trained alone for as long: "
    "{difference:+.2f}UNIT on {samples} test samples (95 % interval {low:+.2f} to {high:+.2f})"
)


def _no_gain_over_control(fact: Fact) -> str:
    unit = str(fact.values.get("unit", "points"))  # facts of older records are all of fractions
    return _NO_GAIN.replace("UNIT", "" if unit == "1" else f" {unit}").format(subject=fact.subject, **fact.values)


def _no_metric_limit(fact: Fact) -> str:
    names = fact.values["names"]
    assert isinstance(names, tuple | list)  # noqa: S101  # JSON reads a tuple back as one
    limits = " or ".join(map(str, names))
    return f"the budget sets no limit on the {fact.subject}, so the verdict says nothing of it; set {limits}"


SENTENCES: Sentences = {
    "pipeline.network_not_readable": (
        "{subject} has attributes that cannot be compared with those of another run ({attributes}): no stage of an earlier run "
        "is reused, and no later run reuses these"
    ),
    "pipeline.method_not_readable": (
        "the code of {subject} has parts that cannot be compared with those of another run ({attributes}): this stage and "
        "those after it reuse nothing of an earlier run, and no later run reuses them"
    ),
    "pipeline.outputs_not_finite": (
        "the network's outputs for {count} of {samples} samples of the {subject} split are NaN or infinite; they count as wrong"
    ),
    "pipeline.one_class_for_all": (
        "the network gives the class {subject!r} to all {samples} test samples: it meets no limit on its accuracy"
    ),
    "pipeline.at_chance": (
        "the network is not significantly better than chance: its {subject} is {value:.4g} on {samples} test samples, and "
        "guessing gives {chance:.4g}"
    ),
    "pipeline.no_metric_limit": _no_metric_limit,
    "pipeline.no_gain_over_control": _no_gain_over_control,
    "pipeline.timed_alone": "timed on its own right after stage {index} · {subject}: minutes apart from the other rows",
}
