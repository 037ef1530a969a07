"""Prevent ONNX Runtime from quantizing the weights of layers that stay in float.

Since 1.21 its optimizer quantizes the float weight of a convolution or Gemm between a DequantizeLinear and a QuantizeLinear, to
int8 with one scale per tensor, which costs accuracy. It does so only if the input has one scale per tensor. So such a layer
gets its own DequantizeLinear with one scale per input channel, all equal:

    x ≈ s (q − z)   ─►   x_c ≈ s_c (q_c − z_c),   s_c = s, z_c = z for every channel c

The values are bit-identical.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from compress.backends import onnx_graph as graphs

QUANTIZED_BY_RUNTIME = ("Conv", "ConvTranspose", "Gemm")
"""Operators whose float weights the runtime's optimizer quantizes."""
CHANNELS = 1
"""Axis of the channels of the input, or of the features for Gemm."""


def block_weight_quantization(model: ir.Model) -> tuple[str, ...]:
    """Give every layer with a float weight after a DequantizeLinear its own DequantizeLinear per channel, in place.

    Args:
        model: Q/DQ graph.

    Returns:
        Names of the layers.
    """
    protected: list[str] = []
    for node in [node for node in model.graph if node.op_type in QUANTIZED_BY_RUNTIME]:
        x, weight = node.inputs[:2]
        before = None if x is None else x.producer()
        if x is None or before is None or before.op_type != "DequantizeLinear" or weight is None or not weight.is_initializer():
            continue
        parts = [np.asarray(graphs.constant(value)) for value in before.inputs[1:3]]
        if parts[0].ndim:
            continue
        index, channels = len(protected), _input_channels(node, weight)
        constants = [
            graphs.add_initializer(model, f"{x.name}_{name}_of_{index}", np.broadcast_to(part, channels).copy())
            for part, name in zip(parts, ("scales", "zeros"), strict=False)
        ]
        per_channel = graphs.make_node(
            "DequantizeLinear", [before.inputs[0], *constants], [f"{x.name}_channels_of_{index}"], axis=CHANNELS
        )
        model.graph.insert_before(node, per_channel)
        node.replace_input_with(0, per_channel.outputs[0])
        if not x.uses() and not x.is_graph_output():
            model.graph.remove(before)
        protected.append(str(node.name))
    return tuple(protected)


def _input_channels(node: ir.Node, weight: ir.Value) -> int:
    settings, shape = graphs.attributes(node), graphs.dims(weight) or []
    if node.op_type == "Conv":
        return shape[1] * int(settings.get("group", 1))
    if node.op_type == "ConvTranspose":
        return shape[0]
    return shape[1 if settings.get("transB") else 0]
