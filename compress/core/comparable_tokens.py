"""Which metrics of two language models are comparable: those of each token only where both read the same tokens."""

from __future__ import annotations

from compress.core.language import gettext
from compress.core.record import StageRecord
from compress.core.run_record import RunRecord

OWN_TOKENS = "data.own_tokens"
"""Code of the fact that a network reads the texts by a tokenizer of its own."""
PER_TOKEN = ("perplexity", "next_token_accuracy")
"""Metrics of each token; names with an ending, such as `perplexity_validation`, are of the same kind."""


def reads_own_tokens(record: StageRecord | None) -> bool:
    """Whether the network of a record reads the texts by a tokenizer of its own."""
    return record is not None and any(note.code == OWN_TOKENS for note in record.notes)


def is_comparable_with_teacher(record: RunRecord, name: str) -> bool:
    """Whether a metric of the artifact is comparable with that of the teacher.

    Args:
        record: The run.
        name: Name of the metric.
    """
    return not (name.startswith(PER_TOKEN) and reads_own_tokens(record.teacher))


def own_tokens_remark(record: RunRecord) -> tuple[str, ...]:
    """A sentence that metrics of each token are not comparable with the teacher's; empty where they are."""
    if not reads_own_tokens(record.teacher):
        return ()
    sentence = gettext(
        "the teacher reads the texts by a tokenizer of its own: its perplexity and its accuracy of next tokens are those of "
        "other tokens and not comparable; bits per byte are"
    )
    return (sentence,)
