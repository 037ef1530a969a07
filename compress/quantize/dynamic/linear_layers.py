"""Linear layers with integer products, whose input range is computed at each run.

    x ≈ s_x (x_q − z_x)      DynamicQuantizeLinear: uint8, one scale for the whole tensor
    W ≈ s_W W_q              int8, one scale for each output channel
    y = s_x s_W · (x_q − z_x) W_q + b

The pattern DynamicQuantizeLinear → MatMulInteger → Cast → Mul → Add is ONNX. ONNX Runtime fuses it into
`DynamicQuantizeMatMul`, or into `MatMulIntegerToFloat` where several layers read one quantized tensor.

x86 without VNNI adds pairs of uint8 × int8 products in 16 bits, which saturates, because 2 · 255 · 127 > 2¹⁵. Weights of 7 bits
avoid it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from compress.backends import onnx_graph as graphs
from compress.quantize.ptq.quantized_weight import round_to_nearest, weight_scales
from compress.quantize.ptq.weighted_layers import LINEAR, WeightedLayer, read_weight, weighted_layers


def quantize_linear_layers(
    model: ir.Model, *, bits: int = 8, per_channel: bool = True, exclude: Sequence[str] = ()
) -> tuple[str, ...]:
    """Quantize linear layers with constant weights dynamically, in place.

    Args:
        model: Float network; changed.
        bits: Weights have 2^bits levels, stored as int8; 7 where sums of int8 products saturate.
        per_channel: One weight scale per output channel.
        exclude: Names of nodes that stay in float.

    Returns:
        Names of the quantized layers, in graph order.
    """
    rewriter = _Rewriter(model, bits, per_channel)
    layers = [layer for layer in weighted_layers(model, shared=True) if layer.operator in LINEAR and layer.name not in exclude]
    nodes = {str(node.name): node for node in model.graph}
    for layer in layers:
        rewriter.replace(nodes[layer.name], layer)
    return tuple(layer.name for layer in layers)


@dataclass
class _Rewriter:
    """Replaces layers of one network; a tensor or weight that several layers read is quantized once.

    Attributes:
        model: The network.
        bits: Bits of the weights.
        per_channel: One weight scale per output channel.
        inputs: Integers, scale and zero point by quantized tensor.
        weights: Integers (D, K) and scales by initializer and axis of its output channels.
    """

    model: ir.Model
    bits: int
    per_channel: bool
    inputs: dict[str, tuple[ir.Value, ir.Value, ir.Value]] = field(default_factory=dict)
    weights: dict[tuple[str, int], tuple[ir.Value, ir.Value]] = field(default_factory=dict)

    def replace(self, node: ir.Node, layer: WeightedLayer) -> None:
        """Replace a layer by integer products; its node keeps the name, its result the name of the tensor."""
        x_q, x_s, x_z = self._quantized_input(node, layer.input)
        w_q, w_s = self._quantized_weight(layer)
        y, name = node.outputs[0], layer.output
        products = graphs.make_node("MatMulInteger", [x_q, w_q, x_z], [f"{name}_int32"], layer.name)
        as_float = graphs.make_node("Cast", [products.outputs[0]], [f"{name}_cast"], to=ir.DataType.FLOAT.value)
        scale = graphs.make_node("Mul", [x_s, w_s], [f"{name}_scale"])
        nodes = [products, as_float, scale]
        nodes.append(graphs.make_node("Mul", [as_float.outputs[0], scale.outputs[0]], [f"{name}_scaled"]))
        if len(node.inputs) > 2 and node.inputs[2] is not None:
            nodes.append(graphs.make_node("Add", [nodes[-1].outputs[0], node.inputs[2]], [f"{name}_biased"]))
        self.model.graph.insert_before(node, nodes)
        result = nodes[-1].outputs[0]
        result.type, result.shape = y.type, y.shape
        y.name = f"{name}_float"
        y.replace_all_uses_with(result, replace_graph_outputs=True)
        result.name = name
        self.model.graph.remove(node, safe=True)
        if not self.model.graph.initializers[layer.weight].uses():
            del self.model.graph.initializers[layer.weight]

    def _quantized_input(self, node: ir.Node, name: str) -> tuple[ir.Value, ir.Value, ir.Value]:
        if name not in self.inputs:
            parts = [f"{name}_{part}" for part in ("q", "s", "z")]
            quantize = graphs.make_node("DynamicQuantizeLinear", [node.inputs[0]], parts)
            self.model.graph.insert_before(node, quantize)
            integers, scale, zero_point = quantize.outputs
            self.inputs[name] = integers, scale, zero_point
        return self.inputs[name]

    def _quantized_weight(self, layer: WeightedLayer) -> tuple[ir.Value, ir.Value]:
        key = layer.weight, layer.axis
        if key not in self.weights:
            w = layer.to_matrix(read_weight(self.model, layer.weight))
            s = weight_scales(w, self.bits, per_channel=self.per_channel, search=False)
            integers = np.ascontiguousarray(round_to_nearest(w, s, self.bits)[0].T)
            scales = s[0] if self.per_channel else s[0, :1]
            prefix = f"{layer.weight}_{layer.axis}"
            q = graphs.add_initializer(self.model, f"{prefix}_q", integers)
            self.weights[key] = q, graphs.add_initializer(self.model, f"{prefix}_s", scales)
        return self.weights[key]
