"""Sentences of the pipeline."""

from __future__ import annotations

from compress.core.sentences.table import Sentences

SENTENCES: Sentences = {
    "pipeline.no_gain_over_control": (
        "the teacher brought no {subject} that {samples} test samples can tell: {difference:+.2f} points over {control} "
        "(95 % interval {low:+.2f} to {high:+.2f})"
    ),
}
