"""GPTQ with a scale and a zero point for each block of inputs.

    q_i = clip(round(W*_i / s) + z),   e = (W*_i − s (q_i − z)) / U_ii,   W*_j ← W*_j − e U_ij  for j > i

U and W* are those of `ptq.gptq`. s and z of a block are taken when its first input is reached, from the weights with the
compensation of all inputs before. Frantar et al. 2023, arXiv:2210.17323, algorithm 1, with groups as in section 4.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from compress.quantize.ptq.gptq import BLOCK, gptaq_target
from compress.quantize.weight_only.blockwise import BlockwiseWeight, choose_parts, quantize_blocks
from compress.quantize.weight_only.rounding_problem import BlockRounding


def round_gptq(problem: BlockRounding) -> BlockwiseWeight:
    """Row `gptq` of the registry: in no row is the error of the outputs above that of rounding to the nearest."""
    target = gptaq_target(problem.w[None], problem.hessian, problem.statistics.cross_moment)[0]
    learned, nearest = _round_columns(problem, target, problem.hessian.upper[0]), problem.nearest()
    h = problem.hessian.hessian[0]
    better = _row_errors(learned, target, h) <= _row_errors(nearest, target, h)
    parts = choose_parts(better[:, None], (learned.q, learned.s, learned.z), (nearest.q, nearest.s, nearest.z))
    return BlockwiseWeight(*parts, bits=problem.bits, inputs=learned.inputs)


def _row_errors(weight: BlockwiseWeight, target: np.ndarray, h: np.ndarray) -> np.ndarray:
    """E[(W* x̂ − W̃ x̂)²] of each row."""
    difference = weight.dequantize() - target
    errors: np.ndarray = ((difference @ h) * difference).sum(1)
    return errors


def _round_columns(problem: BlockRounding, target: np.ndarray, u: Tensor) -> BlockwiseWeight:
    outputs, inputs = target.shape
    block, top = problem.block, 2**problem.bits - 1
    blocks = -(-inputs // block)
    # input by input in memory, so that each iteration reads contiguous memory
    remaining = torch.from_numpy(np.ascontiguousarray(target.T))
    q = np.zeros((outputs, blocks * block), np.uint8)
    s, z = np.ones((outputs, blocks), np.float32), np.zeros((outputs, blocks), np.uint8)
    for start in range(0, inputs, BLOCK):
        stop = min(start + BLOCK, inputs)
        errors = torch.empty(stop - start, outputs)
        for i in range(start, stop):
            group = i // block
            if i % block == 0:
                part = remaining[i : min(i + block, inputs)].T.contiguous().numpy()
                own = quantize_blocks(part, problem.bits, block, symmetric=problem.symmetric)
                s[:, group], z[:, group] = own.s[:, 0], own.z[:, 0]
                q[:, group * block : (group + 1) * block] = own.z  # padding is the zero point
                scale, zero = torch.from_numpy(own.s[:, 0]), torch.from_numpy(own.z[:, 0]).float()
            levels = ((remaining[i] / scale).round_() + zero).clamp_(0, top)
            q[:, i] = levels.byte().numpy()
            errors[i - start] = (remaining[i] - (levels - zero) * scale) / u[i, i]
            remaining[i + 1 : stop].addr_(u[i, i + 1 : stop], errors[i - start], alpha=-1)
        remaining[stop:].addmm_(u[start:stop, stop:].T, errors, alpha=-1)
    return BlockwiseWeight(q.reshape(outputs, blocks, block), s, z, bits=problem.bits, inputs=inputs)
