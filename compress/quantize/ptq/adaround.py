"""AdaRound: learn from the inputs of a layer whether each weight is rounded up or down.

Nagel et al. 2020, Up or Down? Adaptive Rounding for Post-Training Quantization, arXiv:2004.10568. With fixed scales s,

    W̃ = s q,   q = clip(⌊W / s⌋ + h(V)),      h(V) = clip(σ(V) (ζ − γ) + γ, 0, 1),   ζ = 1.1, γ = −0.1      (eq. 22, 23)

    min over V   E‖f(W x + b) − f(W̃ x̂ + b)‖² / (s² h̄) + λ Σ (1 − |2 h(V) − 1|^β)                           (eq. 25, 24)

x is the input of the layer in the float network and x̂ its input with all earlier layers rounded, so the layer also compensates
their errors; f is the activation function that follows it. Dividing by s² and by h̄, the mean of x̂², expresses errors in units
of the scale, which balances the first term against λ for any layer. β falls from 20 to 2, so that every h ends at 0 or 1. Each
iteration of Adam uses a batch of the vectors. A row whose error over all vectors exceeds that of rounding to the nearest is
rounded to the nearest.

Symbols: W (G, K, D) float32; s, b (G, K); x, x̂ (G, n, D); V (G, K, D).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from compress.quantize.ptq.following_activation import ActivationFunction
from compress.quantize.ptq.quantized_weight import int_range, round_to_nearest

if TYPE_CHECKING:
    from compress.quantize.ptq.round_weights import LayerRounding

ZETA, GAMMA = 1.1, -0.1
LAMBDA = 0.3
"""λ; the first term is about D / 12 per row for weights rounded to the nearest."""
WARM_UP = 0.2
"""Fraction of the iterations without the regularizer."""
LEARNING_RATE = 3e-2
BATCH = 256
"""Vectors per iteration."""


def adaround(layer: LayerRounding, *, seed: int = 0) -> np.ndarray:
    """Integers q, (G, K, D), int8, whose output error does not exceed that of rounding to the nearest in any row.

    Args:
        layer: W, s, x, x̂, b, f, and the number of iterations of Adam.
        seed: Seed for the order of the vectors.
    """
    w, s, bits, activation, iterations = layer.w, layer.s, layer.bits, layer.activation, layer.iterations
    low, high = int_range(bits)
    scale = torch.from_numpy(s)[..., None]
    bias = torch.from_numpy(layer.bias.astype(np.float32))
    target = _outputs(torch.from_numpy(layer.inputs.x), torch.from_numpy(w), bias, activation)
    inputs = torch.from_numpy(layer.inputs.x_quantized)
    order = torch.randperm(inputs.shape[1], generator=torch.Generator().manual_seed(seed))
    inputs, target, count = inputs[:, order], target[:, order], min(BATCH, inputs.shape[1])
    factor = 2 / (scale[..., 0] ** 2 * inputs.square().mean((1, 2)).clamp_min(1e-12)[:, None])[:, None]
    scaled = torch.from_numpy(w) / scale
    floor = scaled.floor()
    fraction = (scaled - floor).clamp(0.01, 0.99)
    v = -torch.log((ZETA - GAMMA) / (fraction - GAMMA) - 1)
    optimizer = torch.optim.Adam([v], lr=LEARNING_RATE, fused=True)
    for iteration in range(iterations):
        start = iteration * count % (inputs.shape[1] - count + 1)
        x_batch, y_batch = inputs[:, start : start + count], target[:, start : start + count]
        sigma = torch.sigmoid(v)
        unclipped = sigma * (ZETA - GAMMA) + GAMMA
        h = unclipped.clamp(0, 1)
        q = floor + h
        grad_y = _output_gradient(x_batch, q.clamp(low, high) * scale, bias, activation, y_batch, factor / count)
        grad_h = (grad_y.transpose(1, 2) @ x_batch) * scale * ((q >= low) & (q <= high))
        progress = (iteration / iterations - WARM_UP) / (1 - WARM_UP)
        if progress > 0:
            beta = 2 + 18 * 0.5 * (1 + math.cos(progress * math.pi))
            side = 2 * h - 1
            grad_h -= 2 * LAMBDA * beta * side.abs().pow_(beta - 1).mul_(side.sign())
        v.grad = grad_h.mul_(sigma * (1 - sigma)).mul_((unclipped == h) * (ZETA - GAMMA))
        optimizer.step()
    learned = (floor + (v >= 0)).clamp(low, high).to(torch.int8).numpy()
    nearest = round_to_nearest(w, s, bits)
    error, error_nearest = (_squared_error(q, scale, inputs, bias, activation, target) for q in (learned, nearest))
    better: np.ndarray = (error <= error_nearest).numpy()
    return np.where(better[..., None], learned, nearest)


def output_error(q: np.ndarray, w: np.ndarray, s: np.ndarray, hessian: np.ndarray) -> np.ndarray:
    """E[((s q − W) x)²] of each output channel, (G, K), float64; `hessian` is H = E[x xᵀ], (G, D, D)."""
    delta = q.astype(np.float64) * s[..., None] - w
    error: np.ndarray = ((delta @ hessian.astype(np.float64)) * delta).sum(-1)
    return error


def _outputs(x: Tensor, w: Tensor, bias: Tensor, activation: ActivationFunction | None) -> Tensor:
    """f(W x + b), (G, n, K)."""
    y = torch.baddbmm(bias[:, None], x, w.transpose(1, 2))
    return y if activation is None else activation(y)


def _output_gradient(
    x: Tensor, w: Tensor, bias: Tensor, activation: ActivationFunction | None, target: Tensor, factor: Tensor
) -> Tensor:
    """Gradient of Σ factor (f(W̃ x̂ + b) − target)² / 2 with respect to W̃ x̂ + b, (G, n, K)."""
    y = _outputs(x, w, bias, None)
    if activation is None:
        return (y - target) * factor
    activated = activation(y.requires_grad_())
    (gradient,) = torch.autograd.grad(activated, y, (activated.detach() - target) * factor)
    return gradient


def _squared_error(
    q: np.ndarray, scale: Tensor, x: Tensor, bias: Tensor, activation: ActivationFunction | None, target: Tensor
) -> Tensor:
    """Mean squared error of each output channel, (G, K)."""
    return (_outputs(x, torch.from_numpy(q).float() * scale, bias, activation) - target).square().mean(1)
