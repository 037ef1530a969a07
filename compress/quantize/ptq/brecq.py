"""BRECQ: round the layers of a block together such that the Fisher-weighted error of the block's output is least.

Li et al. 2021, BRECQ: Pushing the Limit of Post-Training Quantization by Block Reconstruction, arXiv:2102.05426. z is the
output of the block in the float network, and ẑ its output for x̂, the output of the rounded blocks before it:

    min over V₁ … V_m   E[ Σ_i f_i (z_i − ẑ_i)² ] + λ Σ (1 − |2 h(V) − 1|^β),        f_i = E[(∂L / ∂z_i)²]       (eq. 10)

    ẑ = block(x̂; Ŵ₁ … Ŵ_m),        Ŵ = s clip(⌊W / s⌋ + h(V), l, h)

f is the diagonal of the Fisher information, averaged over the samples, or 1 if unknown. h(V) = clip(σ(V)(ζ − γ) + γ, 0, 1), β
and the regularizer are those of AdaRound (Nagel et al. 2020, arXiv:2004.10568, eq. 23, 24). The first term is divided by its
value for rounding to the nearest and multiplied by a twelfth of the number of weights. If the learned integers of a block have
more error on the samples than rounding to the nearest, the block is rounded to the nearest.

Symbols: W any shape; s > 0, shaped to broadcast against W; x̂, z (N, …); f shaped as one sample of z.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from compress.quantize.ptq.adaround import GAMMA, LAMBDA, LEARNING_RATE, WARM_UP, ZETA
from compress.quantize.ptq.quantized_weight import int_range

BlockFunction = Callable[[Sequence[Tensor], Tensor], Tensor]
"""Computes outputs from weights and inputs."""


@dataclass(frozen=True, eq=False)
class BlockProblem:
    """One block to round.

    Attributes:
        block: Computes the block.
        weights: W of each layer.
        s: Scales of each layer.
        x: x̂, inputs of the block.
        z: Outputs of the float block.
        bits: The number of levels is 2^bits.
        fisher: f; None for 1.
        batch_size: Samples per iteration.
    """

    block: BlockFunction
    weights: Sequence[Tensor]
    s: Sequence[Tensor]
    x: Tensor
    z: Tensor
    bits: int
    fisher: Tensor | None = None
    batch_size: int = 32

    @torch.no_grad()
    def error(self, q: Sequence[Tensor]) -> float:
        """E[Σ_i f_i (z_i − ẑ_i)²] over the samples for integers q."""
        values = [integers * s for integers, s in zip(q, self.s, strict=True)]
        total = 0.0
        for start in range(0, len(self.x), self.batch_size):
            part = slice(start, start + self.batch_size)
            total += float(_weighted_error(self.block(values, self.x[part]), self.z[part], self.fisher).double())
        return total / len(self.x)


def brecq(problem: BlockProblem, *, iterations: int, seed: int = 0) -> tuple[list[Tensor], float, float]:
    """Integers q of each weight, whose block error does not exceed that of rounding to the nearest.

    Args:
        problem: Block to round.
        iterations: Iterations of Adam, each with a batch of samples.
        seed: Seed for the batches.

    Returns:
        q in the shape of each weight, int8; the block error of q, and that of rounding to the nearest.
    """
    low, high = int_range(problem.bits)
    nearest = [(w / s).round().clamp(low, high) for w, s in zip(problem.weights, problem.s, strict=True)]
    error_nearest = problem.error(nearest)
    if error_nearest == 0 or iterations == 0:
        return [q.to(torch.int8) for q in nearest], error_nearest, error_nearest
    learned = _learn(problem, sum(w.numel() for w in problem.weights) / 12 / error_nearest, iterations, seed)
    error = problem.error(learned)
    best, least = (learned, error) if error < error_nearest else (nearest, error_nearest)
    return [q.to(torch.int8) for q in best], least, error_nearest


def _learn(problem: BlockProblem, factor: float, iterations: int, seed: int) -> list[Tensor]:
    """Integers that minimize `factor` × error + regularizer."""
    bounds = int_range(problem.bits)
    scaled = [w / s for w, s in zip(problem.weights, problem.s, strict=True)]
    floors = [values.floor() for values in scaled]
    fractions = [(values - floor).clamp(0.01, 0.99) for values, floor in zip(scaled, floors, strict=True)]
    v = [(-torch.log((ZETA - GAMMA) / (fraction - GAMMA) - 1)).requires_grad_() for fraction in fractions]
    optimizer = torch.optim.Adam(v, lr=LEARNING_RATE)
    order = torch.Generator().manual_seed(seed)
    for iteration in range(iterations):
        batch = torch.randperm(len(problem.x), generator=order)[: problem.batch_size]
        h = [_rectified_sigmoid(v_layer) for v_layer in v]
        values = [(floor + h_layer).clamp(*bounds) * s for floor, h_layer, s in zip(floors, h, problem.s, strict=True)]
        outputs = problem.block(values, problem.x[batch])
        loss = factor * _weighted_error(outputs, problem.z[batch], problem.fisher) / len(batch)
        progress = (iteration / iterations - WARM_UP) / (1 - WARM_UP)
        if progress > 0:
            beta = 2 + 18 * 0.5 * (1 + math.cos(progress * math.pi))
            loss = loss + LAMBDA * sum(((1 - (2 * h_layer - 1).abs().pow(beta)).sum() for h_layer in h), torch.zeros(()))
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimizer.step()
    up = [_rectified_sigmoid(v_layer.detach()) >= 0.5 for v_layer in v]
    return [(floor + up_layer).clamp(*bounds) for floor, up_layer in zip(floors, up, strict=True)]


def _weighted_error(outputs: Tensor, z: Tensor, fisher: Tensor | None) -> Tensor:
    squares = (outputs - z).square()
    return squares.sum() if fisher is None else (fisher * squares).sum()


def _rectified_sigmoid(v: Tensor) -> Tensor:
    """h(V)."""
    return (torch.sigmoid(v) * (ZETA - GAMMA) + GAMMA).clamp(0, 1)
