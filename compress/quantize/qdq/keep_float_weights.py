"""Block ONNX Runtime's own quantization of weights in layers that are to stay in float.

Since 1.21 its optimizer quantizes the weight of a convolution or Gemm that stands between a DequantizeLinear and a
QuantizeLinear and has a float weight. It uses int8 with one scale per tensor, which is less exact than our int8 with one scale
per channel. It does so only where the input has one scale per tensor. So such a layer gets a DequantizeLinear of its own with
one scale for each input channel, all equal:

    x ≈ s (q − z)   ─►   x_c ≈ s_c (q_c − z_c),   s_c = s, z_c = z for every channel c

The values are bit-identical.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx.helper import make_node
from onnx.numpy_helper import from_array, to_array

QUANTIZED_BY_RUNTIME = ("Conv", "ConvTranspose", "Gemm")
"""Operators whose float weights the runtime's optimizer quantizes."""
CHANNELS = 1
"""Axis of the input's channels; for Gemm, of its features."""


def block_weight_quantization(model: onnx.ModelProto) -> tuple[str, ...]:
    """Give every layer with a float weight after a DequantizeLinear one of its own, in place.

    Args:
        model: Q/DQ graph.

    Returns:
        Names of the layers.
    """
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    producer = {name: node for node in graph.node for name in node.output}
    protected: list[str] = []
    for node in [node for node in graph.node if node.op_type in QUANTIZED_BY_RUNTIME and node.input[1] in constants]:
        before = producer.get(node.input[0])
        if before is None or before.op_type != "DequantizeLinear" or to_array(constants[before.input[1]]).ndim:
            continue
        channels = _input_channels(node, constants[node.input[1]])
        names = [f"{node.input[0]}_{part}_of_{len(protected)}" for part in ("steps", "zeros", "channels")]
        parts = [to_array(constants[name]) for name in before.input[1:3]]
        graph.initializer.extend(
            from_array(np.broadcast_to(part, channels).copy(), name) for part, name in zip(parts, names, strict=False)
        )
        per_channel = make_node("DequantizeLinear", [before.input[0], *names[: len(parts)]], [names[2]], axis=CHANNELS)
        graph.node.insert(list(graph.node).index(node), per_channel)
        node.input[0] = names[2]
        if not any(before.output[0] in other.input for other in graph.node):
            graph.node.remove(before)
        protected.append(node.name)
    return tuple(protected)


def _input_channels(node: onnx.NodeProto, weight: onnx.TensorProto) -> int:
    """Input channels of a layer."""
    attributes = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
    if node.op_type == "Conv":
        return int(weight.dims[1]) * int(attributes.get("group", 1))
    if node.op_type == "ConvTranspose":
        return int(weight.dims[0])
    return int(weight.dims[1 if attributes.get("transB") else 0])
