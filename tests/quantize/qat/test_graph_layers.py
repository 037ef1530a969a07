"""Layers with quantized weights compute what torch's own compute with the same weights."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from compress.backends.torch_operators.values import Attributes
from compress.quantize.qat.graph_layers import ConvLayer, MatMulLayer

X = torch.randn(2, 4, 7, 7)


class Halved(nn.Module):
    """Stands for a quantizer."""

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight / 2


def test_a_convolution_pads_unevenly_and_quantizes_its_weight() -> None:
    weight, bias = torch.randn(6, 2, 3, 3), torch.randn(6)
    attributes = Attributes({"group": 2, "strides": (2, 1), "pads": (1, 0, 2, 1)})
    layer = ConvLayer(weight, bias, attributes, Halved())
    expected = F.conv2d(F.pad(X, (0, 1, 1, 2)), weight / 2, bias, (2, 1), groups=2)
    torch.testing.assert_close(layer(X), expected)
    same = ConvLayer(weight, None, Attributes({"group": 2, "strides": (2, 2), "auto_pad": "SAME_UPPER"}), nn.Identity())
    assert same(X).shape == (2, 6, 4, 4)


def test_a_product_takes_its_weight_as_stored() -> None:
    weight, bias = torch.randn(7, 5), torch.randn(5)
    torch.testing.assert_close(MatMulLayer(weight, bias, Attributes({}), Halved())(X), X @ weight / 2 + bias)
    transposed = MatMulLayer(weight.T.contiguous(), None, Attributes({"transB": 1}), nn.Identity())
    torch.testing.assert_close(transposed(X), X @ weight)
