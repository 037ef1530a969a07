"""The span of a text with the highest score, from logits of its first and its last token."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

MOST_TOKENS = 30
"""Longest answer in tokens, as in the script of BERT for SQuAD."""
FORBIDDEN = -1e4
"""Logit of a place that is no place of an answer."""


class BestSpans(NamedTuple):
    """The best span of each sample.

    Attributes:
        starts: First token, int64 (N,).
        ends: Last token, int64 (N,).
        scores: Sum of both logits, (N,).
    """

    starts: Tensor
    ends: Tensor
    scores: Tensor


def best_spans(start: Tensor, end: Tensor, allowed: Tensor, most: int = MOST_TOKENS) -> BestSpans:
    """The span i … j with the largest start_i + end_j, with i ≤ j < i + most.

    Args:
        start: Logits of the first token, (N, L).
        end: Logits of the last token, (N, L).
        allowed: Whether a token is one of the text, bool (N, L).
        most: Longest span in tokens.
    """
    import torch

    first = start.masked_fill(~allowed | ~start.isfinite(), FORBIDDEN)
    last = end.masked_fill(~allowed | ~end.isfinite(), FORBIDDEN)
    best = first.new_full((len(first),), -torch.inf)
    starts, lengths = torch.zeros_like(best, dtype=torch.int64), torch.zeros_like(best, dtype=torch.int64)
    for length in range(min(most, first.shape[1])):
        score, place = (first[:, : first.shape[1] - length] + last[:, length:]).max(dim=1)
        better = score > best
        best = torch.where(better, score, best)
        starts = torch.where(better, place, starts)
        lengths = torch.where(better, torch.full_like(place, length), lengths)
    return BestSpans(starts, starts + lengths, best)
