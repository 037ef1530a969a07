"""Metrics of predicted tokens: perplexity, bits per byte, accuracy.

The logits of a few rows at a time are taken out, so that no array of all tokens and the whole vocabulary is made.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from compress.core.network_spec import LOGITS
from compress.core.record import Metric
from compress.data.batch import BYTES, TARGET, Tensors
from compress.tasks.metric import RatioOfSums, Scores

if TYPE_CHECKING:
    from torch import Tensor

PERPLEXITY = Metric(name="perplexity", label="perplexity", unit="1", higher_is_better=False)
BITS_PER_BYTE = Metric(name="bits_per_byte", label="bits per byte", unit="bit", higher_is_better=False)
CHUNK_VALUES = 2**22
"""Largest number of logits that a metric takes out at a time: 16 MiB of float32."""


class Perplexity(RatioOfSums):
    """Perplexity of the predicted tokens, exp(Σ −log p(y) / Σ 1) over the tokens of all samples; lower is better."""

    def __init__(self) -> None:
        super().__init__(PERPLEXITY)

    def scores(self, outputs: Tensors, targets: Tensors) -> Tensor:
        """Σ −log p(y) and number of predicted tokens of each sample, float64 (N, 2)."""
        import torch

        return torch.stack([summed_loss(outputs, targets), (targets[TARGET] >= 0).sum(1).double()], dim=1)

    def value(self, scores: Scores) -> float:
        """The perplexity of these samples; infinite where it is too large for a number."""
        with np.errstate(over="ignore"):
            return float(np.exp(super().value(scores)))


class BitsPerByte(RatioOfSums):
    """Bits that the predicted tokens cost for each byte of text, Σ −log₂ p(y) / Σ bytes; lower is better.

    Unlike perplexity it can be compared between tokenizers. Tokens that stand for no text, such as the end of one, cost bits.
    """

    def __init__(self) -> None:
        super().__init__(BITS_PER_BYTE)

    def scores(self, outputs: Tensors, targets: Tensors) -> Tensor:
        """Bits and bytes of each sample, float64 (N, 2); 0 bytes where the data do not say how many there are."""
        import torch

        bits = summed_loss(outputs, targets) / np.log(2.0)
        size = targets.get(BYTES)
        return torch.stack([bits, torch.zeros_like(bits) if size is None else size.to(bits)], dim=1)


class PredictedAccuracy(RatioOfSums):
    """Fraction of the predicted tokens whose largest logit is that of the token."""

    def scores(self, outputs: Tensors, targets: Tensors) -> Tensor:
        """Right tokens and predicted tokens of each sample, float32 (N, 2)."""
        import torch

        y = targets[TARGET]
        right = torch.zeros(len(y), device=y.device)
        for sample, z, token in logit_chunks(outputs, targets):
            right.index_add_(0, sample, ((z.argmax(dim=1) == token) & z.isfinite().all(dim=1)).float())
        return torch.stack([right, (y >= 0).sum(1).float()], dim=1)


def summed_loss(outputs: Tensors, targets: Tensors) -> Tensor:
    """Σ −log p(y) over the predicted tokens of each sample, float64 (N,)."""
    import torch
    from torch.nn import functional as F

    y = targets[TARGET]
    total = torch.zeros(len(y), dtype=torch.float64, device=y.device)
    for sample, z, token in logit_chunks(outputs, targets):
        total.index_add_(0, sample, F.cross_entropy(z, token, reduction="none").double())
    return total


def logit_chunks(outputs: Tensors, targets: Tensors) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Sample (R,), logits (R, V) and token (R,) of some predicted tokens at a time; R · V is at most `CHUNK_VALUES`.

    Args:
        outputs: Logits of all places, (N, L, V), or of the predicted ones alone, (M, V).
        targets: Token at each place, int64 (N, L), negative where none is predicted.
    """
    import torch

    z, y = outputs[LOGITS], targets[TARGET]
    sample, place = (y >= 0).nonzero(as_tuple=True)
    for rows in torch.split(torch.arange(len(sample), device=y.device), max(1, CHUNK_VALUES // z.shape[-1])):
        part = z[rows] if z.ndim == 2 else z[sample[rows], place[rows]]
        yield sample[rows], part, y[sample[rows], place[rows]]
