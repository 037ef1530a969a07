"""Learned rounding by the sign of the gradient: SignRound, the method of AutoRound.

    s = (α max W − β min W) / (2^b − 1),   z = round(−β min W / s)        of each block; symmetric: z is the middle
    q = clip(round(W / s + V) + z, 0, 2^b − 1),   Ŵ = s (q − z),          V in [−½, ½], α and β in [½, 1]
    L = E‖W* x̂ − Ŵ x̂‖² = tr((Ŵ − W*) H (Ŵ − W*)ᵀ),                       W* of `gptaq_target`, H = E[x̂ x̂ᵀ]
    V ← V − η sign(∂L/∂V), likewise α and β;   η falls linearly from 1 / `STEPS` to 0

The gradient passes through round and clip as through the identity within the range. Of all steps, each output keeps the one
with its least error, that of rounding to the nearest among them. The authors minimise the error of a whole transformer block;
here it is that of a layer, of which one is in memory. Cheng et al. 2023, arXiv:2309.05516, algorithm 1.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from compress.quantize.ptq.gptq import gptaq_target
from compress.quantize.weight_only.blockwise import BlockwiseWeight
from compress.quantize.weight_only.rounding_problem import BlockRounding

STEPS = 200
"""Steps of gradient descent, those of the authors."""
NARROWEST = 0.5
"""Least α and β."""


def round_by_sign(problem: BlockRounding) -> BlockwiseWeight:
    """Row `sign_round` of the registry: in no output is the error above that of rounding to the nearest."""
    target = gptaq_target(problem.w[None], problem.hessian, problem.statistics.cross_moment)[0]
    h = torch.from_numpy(problem.hessian.hessian[0])
    rounding = _Rounding(problem, torch.from_numpy(np.ascontiguousarray(target)))
    nearest = problem.nearest()
    best = [torch.from_numpy(part) for part in (nearest.q, nearest.s, nearest.z)]
    least = _row_errors(torch.from_numpy(nearest.dequantize()) - rounding.target, h)
    for step in range(STEPS + 1):
        q, s, z = rounding.parts()
        difference = rounding.flat((q - z[..., None]) * s[..., None]) - rounding.target
        errors = _row_errors(difference, h)
        better = (errors.detach() < least)[:, None]
        best = [
            torch.where(better[..., None] if new.ndim == 3 else better, new.detach().to(old.dtype), old)
            for new, old in zip((q, s, z), best, strict=True)
        ]
        least = torch.minimum(errors.detach(), least)
        if step < STEPS:
            rounding.step(errors.sum(), (1 - step / STEPS) / STEPS)
    integers, scales, zero_points = (part.numpy() for part in best)
    return BlockwiseWeight(integers, scales, zero_points, bits=problem.bits, inputs=nearest.inputs)


class _Rounding:
    """V, α and β of a matrix.

    Args:
        problem: The matrix and its grid.
        target: W*, (K, D).
    """

    def __init__(self, problem: BlockRounding, target: Tensor) -> None:
        self.problem, self.target = problem, target
        block, inputs = problem.block, target.shape[1]
        padded = torch.nn.functional.pad(target, (0, -inputs % block))
        self.blocks = padded.reshape(len(target), -1, block)
        self.low, self.high = self.blocks.amin(2).clamp(max=0), self.blocks.amax(2).clamp(min=0)
        self.v = torch.zeros_like(self.blocks, requires_grad=True)
        self.alpha = torch.ones_like(self.low, requires_grad=True)
        self.beta = torch.ones_like(self.low, requires_grad=True)

    def flat(self, blocks: Tensor) -> Tensor:
        """Blocks as a matrix, (K, D)."""
        return blocks.reshape(len(blocks), -1)[:, : self.target.shape[1]]

    def parts(self) -> tuple[Tensor, Tensor, Tensor]:
        """The parts q (K, G, block), s and z (K, G), as float numbers with gradients."""
        top = 2**self.problem.bits - 1
        if self.problem.symmetric:
            middle = (top + 1) // 2
            s = self.alpha * torch.maximum(-self.low / middle, self.high / (middle - 1))
            s = torch.where(s > 0, s, 1.0)
            z = torch.full_like(s, float(middle))
        else:
            s = (self.alpha * self.high - self.beta * self.low) / top
            s = torch.where(s > 0, s, 1.0)
            z = _round(-self.beta * self.low / s).clamp(0, top)
        q = (_round(self.blocks / s[..., None] + self.v) + z[..., None]).clamp(0, top)
        return q, s, z

    def step(self, loss: Tensor, rate: float) -> None:
        """One step by the sign of the gradient."""
        variables = (self.v, self.alpha, self.beta)
        gradients = torch.autograd.grad(loss, variables, allow_unused=True)
        with torch.no_grad():
            for variable, gradient, low, high in zip(
                variables, gradients, (-0.5, NARROWEST, NARROWEST), (0.5, 1.0, 1.0), strict=True
            ):
                if gradient is not None:
                    variable.sub_(rate * gradient.sign()).clamp_(low, high)


def _round(x: Tensor) -> Tensor:
    """Round with the gradient of the identity."""
    return x + (x.round() - x).detach()


def _row_errors(difference: Tensor, h: Tensor) -> Tensor:
    """E[(d x̂)²] of each row, (K,)."""
    return ((difference @ h) * difference).sum(1)
