"""`svd`: the leading singular directions of every expert in one matrix (SVD-KG of Xue et al. 2022, arXiv:2201.10890).

    W_e = U_e S_e V_eᵀ,   W = c Σ_e U_e,K S_e,K V_e,Kᵀ,   K = ⌈rank / E⌉

for each of the three matrices, where rank is the smaller side of W_e, so that W has at most the rank of one expert. The factor
c makes the norm of W the mean norm of the experts, weighted by their shares: the experts have parts in common, which add up.
The hidden units are matched first, see `align`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from compress.merge.experts.align import aligned
from compress.merge.experts.method import Expert, ExpertMerge

if TYPE_CHECKING:
    from torch import Tensor


class SingularValueExperts(ExpertMerge):
    """Gathers the leading singular directions, in the width of one expert."""

    def merge(self, experts: Sequence[Expert], shares: Tensor) -> Expert:
        """See the module."""
        reference = experts[int(shares.argmax())]
        ordered = [aligned(expert, reference) for expert in experts]
        gate, up, down = (gathered(parts, shares) for parts in zip(*ordered, strict=True))
        return Expert(gate, up, down)


def gathered(matrices: Sequence[Tensor], shares: Tensor) -> Tensor:
    """W of the module, of the shape of the matrices.

    Args:
        matrices: W_e.
        shares: s, (E,).
    """
    import torch

    k = -(-min(matrices[0].shape) // len(matrices))
    total = torch.zeros_like(matrices[0])
    for matrix in matrices:
        u, s, vt = torch.linalg.svd(matrix, full_matrices=False)
        total += u[:, :k] * s[:k] @ vt[:k]
    norm = sum(float(share) * float(matrix.norm()) for share, matrix in zip(shares, matrices, strict=True))
    scaled: Tensor = total * (norm / total.norm().clamp_min(torch.finfo(total.dtype).tiny))
    return scaled
