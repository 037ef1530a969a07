"""Sentences of the pipeline."""

from __future__ import annotations

from compress.core.sentences.table import Sentences

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
    "pipeline.no_gain_over_control": (
        "distillation gave no significant gain of {subject} over the control, the student trained alone for as long: "
        "{difference:+.2f} points on {samples} test samples (95 % interval {low:+.2f} to {high:+.2f})"
    ),
    "pipeline.timed_alone": "timed on its own right after stage {index} · {subject}: minutes apart from the other rows",
}
