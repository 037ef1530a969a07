"""Which places of a network that sees and writes are those of the answer, of the image and of the question."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compress.data.batch import TARGET
from compress.train.loss_term import ATTENTION_MASK

if TYPE_CHECKING:
    from torch import Tensor

    from compress.data.batch import Batch

PLACES = "places"
"""Name of the layer that passes on the logits at all places, see `compress.models.visual_language.VisualLanguage`."""


def visual_places(logits: Tensor, batch: Batch) -> Tensor:
    """Logits at visual tokens, (N, P, V).

    Args:
        logits: At all places, those of the image first, (N, P + L, V).
        batch: Of the samples, with texts of L tokens.
    """
    return logits[:, : logits.shape[1] - batch.inputs[ATTENTION_MASK].shape[1]]


def split_places(logits: Tensor, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Logits at places whose next token is one of the answer, at visual tokens, and at other tokens of the text, (R, V) each.

    Args:
        logits: At all places, those of the image first, (N, P + L, V).
        batch: Of the samples, with texts of L tokens.
    """
    mask, answers = batch.inputs[ATTENTION_MASK].bool(), batch.targets[TARGET] >= 0
    visual = visual_places(logits, batch)
    text = logits[:, visual.shape[1] :]
    return text[answers], visual.flatten(0, 1), text[mask & ~answers]
