"""Layers of a quantized graph in torch, with fake quantization of their weights."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from compress.backends.torch_operators.convolution import pad_input
from compress.backends.torch_operators.values import Attributes


class ConvLayer(nn.Conv2d):
    """A convolution whose weight is quantized by `weight_quantizer`; weight and bias have the shapes of the graph."""

    def __init__(self, weight: Tensor, bias: Tensor | None, attributes: Attributes, weight_quantizer: nn.Module) -> None:
        groups, (outputs, inputs, height, width) = attributes.integer("group", 1), weight.shape
        stride, dilation = (_pair(attributes.integers(name)) for name in ("strides", "dilations"))
        sizes = inputs * groups, outputs, (height, width), stride, 0, dilation, groups, bias is not None
        super().__init__(*sizes, device="meta")  # no random initialization on the meta device
        self.attributes = attributes
        self.weight_quantizer = weight_quantizer
        self.weight = nn.Parameter(weight)
        self.bias = None if bias is None else nn.Parameter(bias)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # torch's name
        """Output of the layer."""
        padded = pad_input(input, self.attributes, self.kernel_size)
        output: Tensor = self._conv_forward(padded, self.weight_quantizer(self.weight), self.bias)
        return output


class MatMulLayer(nn.Module):
    """A matrix product with a constant weight that is quantized by `weight_quantizer`.

    Args:
        weight: (K, D) with `transB`, else (…, D, K).
        bias: Bias to add, (K,); None without.
        attributes: Attributes of the node.
        weight_quantizer: Fake quantization of the weight.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, attributes: Attributes, weight_quantizer: nn.Module) -> None:
        super().__init__()
        self.transposed, self.weight_quantizer = bool(attributes.integer("transB", 0)), weight_quantizer
        self.weight = nn.Parameter(weight)
        self.bias = None if bias is None else nn.Parameter(bias)

    def forward(self, x: Tensor) -> Tensor:
        """Output of the layer."""
        w = self.weight_quantizer(self.weight)
        y = F.linear(x, w) if self.transposed else x @ w
        return y if self.bias is None else y + self.bias


def _pair(values: tuple[int, ...] | None) -> tuple[int, int]:
    first, second = values or (1, 1)
    return first, second
