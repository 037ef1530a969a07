"""Order of the hidden units of experts: of two orders of the same units, a network computes the same.

The units of an expert are matched with those of a reference so that the sum of their similarities is largest (Ainsworth et al.
2023, "Git Re-Basin", arXiv:2209.04836, weight matching), by the cosine between the rows of [W_gate | W_up | W_downᵀ].
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

    from compress.merge.experts.method import Expert


def aligned(expert: Expert, reference: Expert) -> Expert:
    """The expert with its units in the order of the reference."""
    import torch
    from scipy.optimize import linear_sum_assignment

    similarity = _units(reference) @ _units(expert).T
    _, order = linear_sum_assignment(similarity.numpy(), maximize=True)
    return expert.ordered(torch.from_numpy(np.asarray(order, dtype=np.int64)))


def _units(expert: Expert) -> Tensor:
    """Parts of length 1 of each unit, side by side, (H, 3 D)."""
    import torch
    from torch.nn import functional as F

    return torch.cat([F.normalize(part, dim=1) for part in (expert.gate, expert.up, expert.down.T)], dim=1)
