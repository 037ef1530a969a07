"""Means over the tokens of each sample, or over pairs of tokens, without padding. Shared by losses on tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def fits_tokens(mask: Tensor | None, features: Tensor) -> bool:
    """Whether features are tokens (N, L, D) of this mask (N, L)."""
    return mask is not None and features.ndim == 3 and mask.shape == features.shape[:2]


def token_mean(values: Tensor, mask: Tensor | None) -> Tensor:
    """Mean of a value per token over the tokens that are no padding: 1/|x_n| Σ_i m_ni v_ni.

    Args:
        values: v, (N, L).
        mask: m, bool (N, L); None for no padding.

    Returns:
        (N,); 0 for a sample of padding alone.
    """
    if mask is None or mask.shape != values.shape:
        return values.mean(dim=1)
    return values.masked_fill(~mask, 0.0).sum(dim=1) / mask.sum(dim=1).clamp(min=1)


def mean_token(features: Tensor, mask: Tensor | None) -> Tensor:
    """Mean of the tokens that are no padding, (N, D), of tokens (N, L, D) with a mask (N, L)."""
    if mask is None or not fits_tokens(mask, features):
        return features.mean(dim=1)
    return features.masked_fill(~mask[:, :, None], 0.0).sum(dim=1) / mask.sum(dim=1, keepdim=True).clamp(min=1)


def pair_mean(values: Tensor, mask: Tensor | None) -> Tensor:
    """Mean over heads and the pairs of tokens that are no padding: 1/(A |x_n|²) Σ_aij m_ni m_nj v_naij.

    Args:
        values: v, (N, heads, L, L).
        mask: m, bool (N, L); None for no padding.

    Returns:
        (N,).
    """
    if mask is None or mask.shape[1] != values.shape[2]:
        return values.flatten(1).mean(dim=1)
    pairs = (mask[:, :, None] & mask[:, None, :])[:, None]
    kept = values.masked_fill(~pairs, 0.0).flatten(1).sum(dim=1)
    return kept / (values.shape[1] * pairs.flatten(1).sum(dim=1).clamp(min=1))


def head_row_mean(values: Tensor, mask: Tensor | None) -> Tensor:
    """Mean over heads and the rows that are no padding: 1/(A |x_n|) Σ_ai m_ni v_nai.

    Args:
        values: v, (N, heads, L).
        mask: m, bool (N, L); None for no padding.

    Returns:
        (N,).
    """
    return token_mean(values.mean(dim=1), mask)
