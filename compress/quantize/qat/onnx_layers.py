"""Layers of an ONNX network as torch modules whose weights pass through fake quantization."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from compress.quantize.qat.onnx_operators import Attributes, pad_input


class ConvLayer(nn.Conv2d):
    """A convolution whose weights pass through `weight_quantizer`; weight and bias as the graph stores them."""

    def __init__(self, weight: Tensor, bias: Tensor | None, attributes: Attributes, weight_quantizer: nn.Module) -> None:
        groups, (outputs, inputs, *size) = int(attributes.get("group", 1)), weight.shape
        (height, width), (down, right), (apart_down, apart_right) = (
            size,
            *(attributes.get(name, (1, 1)) for name in ("strides", "dilations")),
        )
        super().__init__(
            inputs * groups, outputs, (height, width), (down, right), 0, (apart_down, apart_right), groups, bias is not None,
            device="meta",  # not the CPU: random weights would be drawn
        )  # fmt: skip
        self.input_padding = {name: attributes[name] for name in ("pads", "auto_pad") if name in attributes}
        self.weight_quantizer = weight_quantizer
        self.weight = nn.Parameter(weight)
        self.bias = None if bias is None else nn.Parameter(bias)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # torch's name
        """The layer's output."""
        padded = pad_input(input, self.input_padding, 2)
        output: Tensor = self._conv_forward(padded, self.weight_quantizer(self.weight), self.bias)
        return output


class MatMulLayer(nn.Module):
    """A matrix product with a constant, whose weights pass through `weight_quantizer`.

    Args:
        weight: As the graph stores it.
        bias: To add.
        attributes: Of the node; with `transB` the weight is (K, D), else (…, D, K).
        weight_quantizer: Its fake quantization.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, attributes: Attributes, weight_quantizer: nn.Module) -> None:
        super().__init__()
        self.transposed, self.weight_quantizer = bool(attributes.get("transB")), weight_quantizer
        self.weight = nn.Parameter(weight)
        self.bias = None if bias is None else nn.Parameter(bias)

    def forward(self, x: Tensor) -> Tensor:
        """The layer's output."""
        w = self.weight_quantizer(self.weight)
        y = F.linear(x, w) if self.transposed else x @ w
        return y if self.bias is None else y + self.bias
