"""Layers that are to stay in float, kept from ONNX Runtime, which would make integers of them by itself.

Since 1.21 its optimizer takes a convolution or Gemm with a float weight that stands between a DequantizeLinear and a
QuantizeLinear for one that was forgotten, and rounds the weight to int8 with one step for the whole tensor: less exact than
what was to be left in float would have been in int8 with a step a channel. It does so only where the step of the input is a
single number. So such a layer gets a DequantizeLinear of its own with one step for each input channel, all equal:

    x ≈ s (q − z)   ─►   x_c ≈ s_c (q_c − z_c),   s_c = s, z_c = z for every channel c

The values are the same, to the bit.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx.helper import make_node
from onnx.numpy_helper import from_array, to_array

TAKEN = ("Conv", "ConvTranspose", "Gemm")
"""Operators that the runtime's optimizer looks at."""
CHANNELS = 1
"""Axis of the input that counts channels; of a Gemm's, features."""


def block_weight_quantization(model: onnx.ModelProto) -> tuple[str, ...]:
    """Give every layer with a float weight behind a DequantizeLinear one of its own, in place.

    Args:
        model: Q/DQ graph.

    Returns:
        Names of the layers.
    """
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    maker = {name: node for node in graph.node for name in node.output}
    protected: list[str] = []
    for node in [one for one in graph.node if one.op_type in TAKEN and one.input[1] in constants]:
        before = maker.get(node.input[0])
        if before is None or before.op_type != "DequantizeLinear" or to_array(constants[before.input[1]]).ndim:
            continue
        channels = _inputs(node, constants[node.input[1]])
        names = [f"{node.input[0]}_{part}_of_{len(protected)}" for part in ("steps", "zeros", "channels")]
        parts = [to_array(constants[name]) for name in before.input[1:3]]
        graph.initializer.extend(
            from_array(np.broadcast_to(part, channels).copy(), name) for part, name in zip(parts, names, strict=False)
        )
        own = make_node("DequantizeLinear", [before.input[0], *names[: len(parts)]], [names[2]], axis=CHANNELS)
        graph.node.insert(list(graph.node).index(node), own)
        node.input[0] = names[2]
        if not any(before.output[0] in one.input for one in graph.node):
            graph.node.remove(before)
        protected.append(node.name)
    return tuple(protected)


def _inputs(node: onnx.NodeProto, weight: onnx.TensorProto) -> int:
    """Input channels of a layer."""
    given = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
    if node.op_type == "Conv":
        return int(weight.dims[1]) * int(given.get("group", 1))
    if node.op_type == "ConvTranspose":
        return int(weight.dims[0])
    return int(weight.dims[1 if given.get("transB") else 0])
