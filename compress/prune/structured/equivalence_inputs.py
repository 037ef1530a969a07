"""Inputs for the trials of pruned structures: samples of different lengths, so that a mask of padding has an effect."""

from __future__ import annotations

import torch
from torch import Tensor

from compress.core.signature import Signature
from compress.prune.base import MASK

SAMPLES = 2


def trial_inputs(signature: Signature, dtype: torch.dtype | None = torch.float64) -> tuple[Tensor, ...]:
    """Two samples in the order of the signature; where it has a mask of padding, a third of the second one is padding.

    Args:
        signature: Inputs.
        dtype: Data type of the float inputs, in place of their own.
    """
    inputs = signature.example(SAMPLES, dtype=dtype)
    if (mask := inputs.get(MASK)) is not None and mask.dim() == 2:
        length = mask.shape[1]
        mask[1, length - length // 3 :] = 0
    return tuple(inputs.values())
