"""Updates of few bytes: the largest entries, as whole numbers of few bits, with feedback of what was not sent.

    c = u + e          sent = Q(top_k(c))          e ← c − sent

Top-k with error feedback: Stich 2018, arXiv:1809.07599. Random rounding: Alistarh 2017, QSGD, arXiv:1610.02132. Compression of
both directions: Tang 2019, DoubleSqueeze, arXiv:1905.05957.
"""

from __future__ import annotations

import torch
from torch import Tensor

INDEX_BYTES = 4
SCALE_BYTES = 4


def compress_update(
    update: Tensor, error: Tensor, *, keep: float, bits: int, generator: torch.Generator
) -> tuple[Tensor, Tensor, int]:
    """What of an update is sent.

    Args:
        update: u, float32 (n,).
        error: e, float32 (n,); zeros without feedback.
        keep: Fraction of the entries that are sent.
        bits: Bits of a value.
        generator: Of the rounding.

    Returns:
        What the receiver reads, (n,); the new error, (n,); and the bytes that are sent.
    """
    corrected = update + error
    sent = torch.zeros_like(corrected)
    count = max(1, round(keep * corrected.numel()))
    if count < corrected.numel():
        places = corrected.abs().topk(count).indices
        sent[places] = round_at_random(corrected[places], bits, generator)
    else:
        sent = round_at_random(corrected, bits, generator)
    return sent, corrected - sent, sent_bytes(corrected.numel(), count, bits)


def round_at_random(values: Tensor, bits: int, generator: torch.Generator) -> Tensor:
    """Values on a grid of whole numbers times a scale, rounded up with the probability of the remainder: E[Q(v)] = v.

    Args:
        values: Float32 (n,).
        bits: Bits of a whole number with sign; 32 leaves the values as they are.
        generator: Of the rounding.
    """
    scale = values.abs().max() / (2 ** (bits - 1) - 1)
    if bits == 32 or not float(scale) > 0:
        return values
    rounded: Tensor = torch.floor(values / scale + torch.rand(values.shape, generator=generator)) * scale
    return rounded


def sent_bytes(entries: int, count: int, bits: int) -> int:
    """Bytes of `count` of `entries` values: their bits, a scale, and their places, as numbers or as one bit for each entry."""
    values = -(-count * bits // 8) + (SCALE_BYTES if bits < 32 else 0)
    return values if count >= entries else values + min(INDEX_BYTES * count, -(-entries // 8))
