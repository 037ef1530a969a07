"""Layers with the weights of a graph: the same outputs as torch's own, through the fake quantization of their weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from compress.quantize.qat.onnx_layers import ConvLayer, MatMulLayer


class Rounded(nn.Module):
    """Stands for a fake quantization."""

    def forward(self, w: torch.Tensor) -> torch.Tensor:
        return w + (w.round() - w).detach()


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("pads", [[1, 1, 1, 1], [0, 1, 2, 3]])
def test_a_convolution_is_that_of_torch_with_the_padding_of_the_graph(groups: int, pads: list[int]) -> None:
    torch.manual_seed(0)
    weight, bias, x = torch.randn(4, 4 // groups, 3, 3), torch.randn(4), torch.randn(2, 4, 9, 9)
    layer = ConvLayer(weight, bias, {"pads": pads, "group": groups, "strides": [2, 1], "dilations": [1, 2]}, nn.Identity())
    top, left, bottom, right = pads
    padded = F.pad(x, (left, right, top, bottom))
    expected = F.conv2d(padded, weight, bias, stride=(2, 1), dilation=(1, 2), groups=groups)
    torch.testing.assert_close(layer(x), expected)
    assert layer.weight.device == weight.device


@pytest.mark.parametrize("transposed", [0, 1])
def test_a_product_reads_the_weight_as_the_graph_stores_it(transposed: int) -> None:
    torch.manual_seed(0)
    matrix, bias, x = torch.randn(5, 3), torch.randn(3), torch.randn(2, 5)
    layer = MatMulLayer(matrix.T.clone() if transposed else matrix, bias, {"transB": transposed}, nn.Identity())
    torch.testing.assert_close(layer(x), x @ matrix + bias)
    torch.testing.assert_close(MatMulLayer(matrix, None, {}, nn.Identity())(x), x @ matrix)


def test_weights_pass_through_their_quantizer_and_get_its_gradient() -> None:
    torch.manual_seed(0)
    weight, x = 3 * torch.randn(2, 3, 1, 1), torch.randn(1, 3, 4, 4)
    layer = ConvLayer(weight, None, {}, Rounded())
    torch.testing.assert_close(layer(x), F.conv2d(x, weight.round()))
    layer(x).sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.abs().sum() > 0
    assert layer.bias is None
