"""The symmetric contrastive loss of images and texts in a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def image_text_contrast(images: Tensor, texts: Tensor, same: Tensor, *, scale: Tensor | float) -> Tensor:
    """Cross-entropy of finding the text of each image and the image of each text among those of the batch.

        L = ½ (L_I→T + L_T→I),   L_I→T = −mean_i log( exp(s v_i·t_i) / Σ_j exp(s v_i·t_j) ),   L_T→I with v and t exchanged

    for vectors v, t of length 1, j = i and all others that are no pair. van den Oord et al. 2018, arXiv:1807.03748 (InfoNCE);
    Radford et al. 2021, CLIP, arXiv:2103.00020, figure 3.

    Args:
        images: v, (N, D); any length.
        texts: t, (N, D); any length.
        same: Whether image i and text j belong together as well, bool (N, N): such a pair is no negative.
        scale: s, the reciprocal of the temperature.

    Returns:
        Scalar, at least 0.
    """
    import torch
    from torch.nn import functional as F

    own = torch.arange(len(images), device=images.device)
    further = same & ~torch.eye(len(images), dtype=torch.bool, device=images.device)
    z = (scale * (F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T)).masked_fill(further, -torch.inf)
    return (F.cross_entropy(z, own) + F.cross_entropy(z.T, own)) / 2
