"""Networks of one layer with an activation function behind it, and with what only looks like one."""

from __future__ import annotations

import numpy as np
import onnx
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info
from onnx.numpy_helper import from_array

SIX = [from_array(np.float32(0), "low"), from_array(np.float32(6), "high")]
BENT = {
    "Relu": [make_node("Relu", ["y"], ["z"])],
    "Clip": [make_node("Clip", ["y", "low", "high"], ["z"])],
    "HardSwish": [make_node("HardSwish", ["y"], ["z"])],
    "SiLU": [make_node("Sigmoid", ["y"], ["g"]), make_node("Mul", ["y", "g"], ["z"])],
    "hard SiLU": [make_node("HardSigmoid", ["y"], ["g"], alpha=1 / 6), make_node("Mul", ["g", "y"], ["z"])],
    "gate": [make_node("Sigmoid", ["y"], ["z"])],
    "hard gate": [make_node("HardSigmoid", ["y"], ["z"], alpha=0.25, beta=0.4)],
}
STRAIGHT = {
    "residual": [make_node("Relu", ["y"], ["r"]), make_node("Add", ["y", "r"], ["z"])],
    "sum": [make_node("Add", ["y", "low"], ["z"])],
    "gate and sum": [
        make_node("Sigmoid", ["y"], ["g"]),
        make_node("Mul", ["x", "g"], ["h"]),
        make_node("Add", ["h", "y"], ["z"]),
    ],
    "steeper gate": [make_node("HardSigmoid", ["y"], ["g"], alpha=0.2), make_node("Mul", ["g", "y"], ["z"])],
}


def built(nodes: list[onnx.NodeProto]) -> onnx.ModelProto:
    weight = from_array(np.eye(4, dtype=np.float32), "w")
    values = [make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None, 4]) for name in ("x", "z")]
    graph = make_graph([make_node("Gemm", ["x", "w"], ["y"], "layer"), *nodes], "g", values[:1], values[1:], [weight, *SIX])
    return make_model(graph, opset_imports=[make_opsetid("", 20)], ir_version=9)
