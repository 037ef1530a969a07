"""Rows of tokens for losses on logits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compress.data.batch import UNLABELLED
from compress.tasks.base import Rows

if TYPE_CHECKING:
    from torch import Tensor

MOST_ROWS = 2**16
"""Largest number of tokens of a batch in losses on logits."""


def token_rows(logits: Tensor, classes: Tensor) -> Rows:
    """The logits of the tokens that are no padding; of more than `MOST_ROWS` a random choice.

    The choice is seeded by the classes of the batch, so that it is the same for student and teacher.

    Args:
        logits: (N, L, K).
        classes: Class of each token, int64 (N, L); `UNLABELLED` for padding, another negative number for a token without a
            class.
    """
    import torch

    sample, place = (classes != UNLABELLED).nonzero(as_tuple=True)
    if len(sample) > MOST_ROWS:
        generator = torch.Generator().manual_seed(int(classes.sum()) % 2**63)
        drawn = torch.randperm(len(sample), generator=generator)[:MOST_ROWS].to(sample.device)
        sample, place = sample[drawn], place[drawn]
    return Rows(logits[sample, place], classes[sample, place], sample)
