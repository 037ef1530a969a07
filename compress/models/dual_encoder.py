"""A network of two towers: one for images, one for texts, whose vectors are compared by their cosine."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

FIRST_TEMPERATURE, LARGEST_SCALE = 0.07, 100.0
"""Start of the learned temperature, and where its reciprocal is clipped: CLIP, arXiv:2103.00020, section 2.5."""
SMALLEST = 1e-24
"""Of the squared length."""


class DualEncoder(nn.Module):
    """Image (N, C, H, W), token numbers and attention mask, int64 (N, L) → vectors of both, of length 1, (N, D) each.

        v = V(image) / ‖V(image)‖,   t = T(text) / ‖T(text)‖

    Neither vector depends on the other input. Radford et al. 2021, CLIP, arXiv:2103.00020, figure 3.

    Args:
        image: V, (N, C, H, W) → (N, D).
        text: T, (N, L) twice → (N, D).

    Attributes:
        log_scale: Logarithm of the learned reciprocal temperature of the contrastive loss, a scalar. No output depends on it.
    """

    def __init__(self, image: nn.Module, text: nn.Module) -> None:
        super().__init__()
        self.image, self.text = image, text
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / FIRST_TEMPERATURE)))

    def similarity_scale(self) -> Tensor:
        """The reciprocal temperature, at most `LARGEST_SCALE`, a scalar."""
        return self.log_scale.exp().clamp(max=LARGEST_SCALE)

    def forward(self, image: Tensor, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors of images and of texts."""
        return unit_length(self.image(image)), unit_length(self.text(input_ids, attention_mask))


def unit_length(vectors: Tensor) -> Tensor:
    """Vectors divided by their length, (N, D); as `torch.nn.functional.normalize`, whose export reads the size of the batch."""
    return vectors / vectors.square().sum(dim=1, keepdim=True).clamp_min(SMALLEST).sqrt()
