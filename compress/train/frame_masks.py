"""Padding masks of audio samples at the rate of a network's frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def mask_of_frames(mask: Tensor, frames: int) -> Tensor:
    """Which frames are of the clip, bool (N, T): those whose last sample is no padding, to within one frame.

    Args:
        mask: Which samples are no padding, bool (N, S) with S ≥ T.
        frames: T.
    """
    import torch

    last = (torch.arange(1, frames + 1, device=mask.device) * mask.shape[1]) // frames - 1
    return mask[:, last]
