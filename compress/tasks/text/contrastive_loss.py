"""Losses of vectors of pairs of texts: in-batch negatives for pairs that belong together, order of cosines for scored pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def multiple_negatives(a: Tensor, b: Tensor, same: Tensor, *, scale: float) -> Tensor:
    """Cross-entropy of finding the partner of each text among those of the batch.

        L = −mean_i log( exp(s cos(a_i, b_i)) / Σ_j exp(s cos(a_i, b_j)) ),   j = i, and all others that are another text

    Henderson et al. 2017, arXiv:1705.00652, section 4; with cosines as in sentence-transformers' MultipleNegativesRankingLoss.

    Args:
        a: Vectors of the first texts, (N, D).
        b: Vectors of the second texts, (N, D).
        same: Whether b_i and b_j are the same text, bool (N, N): the same text is no negative.
        scale: s.
    """
    import torch
    from torch.nn import functional as F

    cosine = F.normalize(a, dim=1) @ F.normalize(b, dim=1).T
    own = torch.arange(len(a), device=a.device)
    repeated = same & ~torch.eye(len(a), dtype=torch.bool, device=a.device)
    return F.cross_entropy((scale * cosine).masked_fill(repeated, -torch.inf), own)


def ordered_cosines(cosine: Tensor, score: Tensor, *, scale: float) -> Tensor:
    """Loss of pairs whose cosines are in another order than their scores.

        L = log(1 + Σ_{i, j: y_i > y_j} exp(s (cos_j − cos_i)))

    Su 2022, CoSENT (https://kexue.fm/archives/8847). It takes scores of any range.

    Args:
        cosine: Of each pair, (N,).
        score: y, (N,).
        scale: s.
    """
    import torch

    difference = scale * (cosine[None, :] - cosine[:, None])
    wrong = difference[score[:, None] > score[None, :]]
    return torch.logsumexp(torch.cat([wrong.new_zeros(1), wrong]), dim=0)
