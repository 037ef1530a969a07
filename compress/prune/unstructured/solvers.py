"""Rules that choose the weights to remove of one layer from the second moments of its inputs, and change the others.

W (K, D) is the weight of a layer, rows are outputs, H = E[x xᵀ] (D, D) over its inputs x.

Wanda: score |w_ij| · √H_jj, compared within each output; the others stay. Sun et al. 2024, arXiv:2306.11695, equation 1.

SparseGPT: with H + a I = L Lᵀ, H⁻¹ = Uᵀ U, U upper triangular and a 1 % of the mean of the diagonal of H, for i = 1 … D

    score w_ki² / U_ii²;    e = W_i / U_ii where a weight is removed, else 0;    W_j ← W_j − e U_ij for j ≥ i

so that later inputs compensate the loss of earlier ones (optimal brain surgeon, row by row). The removals of a block of 128
inputs are chosen when it is reached; for N:M those of M inputs are. Frantar & Alistarh 2023, arXiv:2301.00774, algorithm 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from compress.quantize.ptq.gptq import BLOCK, DampedHessian


@dataclass(frozen=True)
class Removal:
    """How much of a layer is removed.

    Attributes:
        fraction: Fraction of the weights, in [0, 1], those that are zero already included.
        pattern: (N, M): of every M adjacent inputs of an output N are kept, in place of the fraction; None without a pattern.
    """

    fraction: float
    pattern: tuple[int, int] | None = None


Solve = Callable[[Tensor, Tensor, Removal], "tuple[Tensor, Tensor]"]
"""(W, H, removal) → W with changed weights and zeros, and the mask of the weights that are kept; both (K, D)."""


def solve_wanda(w: Tensor, h: Tensor, removal: Removal) -> tuple[Tensor, Tensor]:
    """Remove the lowest |w| · √H_jj of each output; arguments and result as `Solve` has them."""
    scores = (w.abs() * h.diagonal().clamp_min(0).sqrt().to(w)).masked_fill(w == 0, -1.0)
    if removal.pattern is not None:
        n, m = removal.pattern
        removed = _lowest_of_each(torch.unflatten(scores, 1, (-1, m)), m - n).flatten(1)
    else:
        removed = _lowest_of_each(scores, round(removal.fraction * w.shape[1]))
    return w.masked_fill(removed, 0.0), ~removed


def solve_sparsegpt(w: Tensor, h: Tensor, removal: Removal) -> tuple[Tensor, Tensor]:
    """Remove weights input by input and compensate with the later inputs; arguments and result as `Solve` has them.

    Weights that are zero before stay zero.
    """
    earlier = w == 0
    h = h.clone().float()
    unused = h.diagonal() == 0
    h.diagonal()[unused] = 1.0
    remaining = w.float().masked_fill(unused, 0.0)
    u = DampedHessian(h[None].numpy()).upper[0]
    removed = torch.zeros_like(earlier)
    done = 0
    for start in range(0, w.shape[1], BLOCK):
        stop = min(start + BLOCK, w.shape[1])
        if removal.pattern is None:
            total = round(removal.fraction * len(w) * stop)
            removed[:, start:stop] = _lowest(_obs_scores(remaining, earlier, u, start, stop), total - done)
            done = total
        errors = torch.empty(len(w), stop - start)
        for i in range(start, stop):
            if removal.pattern is not None and i % removal.pattern[1] == 0:
                n, m = removal.pattern
                removed[:, i : i + m] = _lowest_of_each(_obs_scores(remaining, earlier, u, i, i + m), m - n)
            error = remaining[:, i].masked_fill(~removed[:, i], 0.0) / u[i, i]
            remaining[:, i:stop].addr_(error, u[i, i:stop], alpha=-1)
            errors[:, i - start] = error
        remaining[:, stop:].addmm_(errors, u[start:stop, stop:], alpha=-1)
    removed |= earlier
    return remaining.masked_fill(removed, 0.0).to(w), ~removed


def _obs_scores(w: Tensor, earlier: Tensor, u: Tensor, start: int, stop: int) -> Tensor:
    """Increase of the squared error of the outputs, up to a factor, when a weight of these inputs alone is removed."""
    scores = w[:, start:stop].square() / u.diagonal()[start:stop].square()
    return scores.masked_fill(earlier[:, start:stop], -1.0)


def _lowest(scores: Tensor, count: int) -> Tensor:
    """Mask of the `count` lowest entries of a matrix; of equal ones the first."""
    order = scores.flatten().argsort(stable=True)
    mask = torch.zeros(scores.numel(), dtype=torch.bool).index_fill_(0, order[: max(count, 0)], value=True)
    return mask.view(scores.shape)


def _lowest_of_each(scores: Tensor, count: int) -> Tensor:
    """Mask of the `count` lowest entries along the last dimension."""
    order = scores.argsort(dim=-1, stable=True)[..., :count]
    return torch.zeros_like(scores, dtype=torch.bool).scatter_(-1, order, value=True)


def solve_by_magnitude(w: Tensor, removal: Removal) -> Tensor:
    """Mask of the weights to keep, by magnitude within the layer, for a weight of any shape (outputs, inputs, …)."""
    scores = w.abs().masked_fill(w == 0, -1.0)
    if removal.pattern is None:
        return ~_lowest(scores, round(removal.fraction * w.numel()))
    n, m = removal.pattern
    groups = torch.unflatten(scores.movedim(1, -1), -1, (-1, m))
    return ~_lowest_of_each(groups, m - n).flatten(-2).movedim(-1, 1)
