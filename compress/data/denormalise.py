"""From the input of an image network back to pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from compress.core.network_spec import NetworkSpec

if TYPE_CHECKING:
    from torch import Tensor


def to_pixels(images: Tensor, spec: NetworkSpec) -> NDArray[np.uint8]:
    """8-bit images, uint8 (N, H, W, C): denormalised, clipped to black and white, rounded.

    Args:
        images: float32 (N, C, H, W), normalised.
        spec: Mean and standard deviation of the pixels.
    """
    import torch

    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (spec.mean, spec.std))
    values = ((images * std + mean).clamp(0, 1) * 255).round().to(torch.uint8)
    return values.permute(0, 2, 3, 1).contiguous().numpy()
