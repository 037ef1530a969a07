"""Fake quantization of a matrix in blocks, as a parametrization of the weight of a torch layer.

    Ŵ[k, d] = s[k, g] (clip(round(W[k, d] / s[k, g]) + z[k, g], 0, 2^b − 1) − z[k, g]),      g = ⌊d / block⌋,  s = s₀ eᶿ

Gradients of W and θ are those of `fake_quantize`; zero points are fixed. W starts at the float weight, limited to the interval
that rounds to the integers of post-training quantization, so that training starts from them.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from compress.quantize.qat.fake_quantize import fake_quantize, scale_gradient
from compress.quantize.weight_only.blockwise import BlockwiseWeight

NEARLY_HALF = 0.49
"""Of a step: how far a weight may start from its rounded value."""


class BlockFakeQuantize(nn.Module):
    """Rounds the weight of a layer in blocks.

    Args:
        rounded: q, s₀ and z of the matrix W, (K, D).
        transposed: Whether the layer holds Wᵀ.
        learned: Whether the scales are trained.
    """

    def __init__(self, rounded: BlockwiseWeight, *, transposed: bool, learned: bool) -> None:
        super().__init__()
        self.transposed, self.bits, self.inputs = transposed, rounded.bits, rounded.inputs
        self.block = rounded.q.shape[2]
        self.register_buffer("s0", torch.from_numpy(rounded.s.copy()))
        self.register_buffer("z", torch.from_numpy(rounded.z.astype(np.float32)))
        self.theta = nn.Parameter(torch.zeros_like(self.scale_at_start), requires_grad=learned)

    @property
    def scale_at_start(self) -> Tensor:
        """s₀, (K, G)."""
        return self.get_buffer("s0")

    @property
    def scale(self) -> Tensor:
        """s, (K, G)."""
        return self.scale_at_start * self.theta.exp()

    def forward(self, weight: Tensor) -> Tensor:
        """The rounded weight, in the shape and type of the weight."""
        w = self._blocks(weight)
        s = scale_gradient(self.scale, 1 / math.sqrt(self.block * 2**self.bits))[..., None]
        offset = s * self.get_buffer("z")[..., None]
        rounded = (fake_quantize(w + offset, s, 0, 2**self.bits - 1) - offset).flatten(1)[:, : self.inputs]
        return (rounded.T if self.transposed else rounded).to(weight.dtype)

    @torch.no_grad()
    def rounded(self, weight: Tensor) -> BlockwiseWeight:
        """q, s and z of a weight."""
        s, z = self.scale[..., None], self.get_buffer("z")[..., None]
        q = ((self._blocks(weight) / s).round() + z).clamp(0, 2**self.bits - 1)
        integers, scales, zero_points = (part.cpu().numpy() for part in (q.byte(), s[..., 0], z[..., 0].byte()))
        return BlockwiseWeight(integers, scales, zero_points, bits=self.bits, inputs=self.inputs)

    @torch.no_grad()
    def start(self, weight: Tensor, rounded: BlockwiseWeight) -> Tensor:
        """The weight at which training starts."""
        nearest = self._blocks(torch.from_numpy(rounded.dequantize()).to(weight), matrix=True)
        reach = NEARLY_HALF * self.scale_at_start[..., None]
        w = torch.clamp(self._blocks(weight), nearest - reach, nearest + reach).flatten(1)[:, : self.inputs]
        return w.T if self.transposed else w

    def _blocks(self, weight: Tensor, *, matrix: bool = False) -> Tensor:
        """W in blocks, (K, G, block), float32, padded with 0."""
        w = weight.T if self.transposed and not matrix else weight
        padded = nn.functional.pad(w.float(), (0, -self.inputs % self.block))
        return padded.reshape(len(padded), -1, self.block)


def round_weight(layer: nn.Module, rounded: BlockwiseWeight, *, transposed: bool, learned: bool) -> None:
    """Round the weight of a layer in each forward pass, starting at given integers; with a frozen weight nothing is trained."""
    weight = layer.get_parameter("weight")
    fake = BlockFakeQuantize(rounded, transposed=transposed, learned=learned and weight.requires_grad).to(weight.device)
    start = fake.start(weight, rounded)
    parametrize.register_parametrization(layer, "weight", fake)
    original = layer.get_parameter("parametrizations.weight.original")
    original.data.copy_(start)


def read_rounded(layer: nn.Module) -> BlockwiseWeight:
    """The integers and scales of a layer of `round_weight`."""
    fake = layer.get_submodule("parametrizations.weight.0")
    assert isinstance(fake, BlockFakeQuantize)  # noqa: S101  # `round_weight` has put it there
    return fake.rounded(layer.get_parameter("parametrizations.weight.original"))
