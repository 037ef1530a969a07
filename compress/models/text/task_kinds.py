"""Which head a network of texts has for a task. Imports no torch."""

from __future__ import annotations

from typing import Literal

from compress.tasks.base import Task
from compress.tasks.text.causal_language_model import CausalLanguageModel
from compress.tasks.text.embedding import TextEmbedding
from compress.tasks.text.masked_language_model import MaskedLanguageModel
from compress.tasks.text.question_answering import QuestionAnswering
from compress.tasks.text.sequence_to_sequence import SequenceToSequence
from compress.tasks.text.token_classification import TokenClassification

TextKind = Literal["tokens", "answers", "masked", "next", "responses", "vectors"]

_KINDS: tuple[tuple[type[Task], TextKind], ...] = (
    (TokenClassification, "tokens"),
    (QuestionAnswering, "answers"),
    (MaskedLanguageModel, "masked"),
    (CausalLanguageModel, "next"),
    (SequenceToSequence, "responses"),
    (TextEmbedding, "vectors"),
)


def text_kind(task: Task) -> TextKind | None:
    """The head for a task, also for one that is derived from those of this package; None for a classifier."""
    return next((kind for tasks, kind in _KINDS if isinstance(task, tasks)), None)
