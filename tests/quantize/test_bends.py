"""The activation behind a layer is the one that the graph computes, and nothing is taken for one that is not."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info
from onnx.numpy_helper import from_array

from compress import graphs
from compress.quantize.bends import bend_of
from compress.quantize.layers import layers_of

SIX = [from_array(np.float32(0), "low"), from_array(np.float32(6), "high")]
BENT = {
    "Relu": [make_node("Relu", ["y"], ["z"])],
    "Clip": [make_node("Clip", ["y", "low", "high"], ["z"])],
    "HardSwish": [make_node("HardSwish", ["y"], ["z"])],
    "SiLU": [make_node("Sigmoid", ["y"], ["g"]), make_node("Mul", ["y", "g"], ["z"])],
    "hard SiLU": [make_node("HardSigmoid", ["y"], ["g"], alpha=1 / 6), make_node("Mul", ["g", "y"], ["z"])],
}
STRAIGHT = {
    "residual": [make_node("Relu", ["y"], ["r"]), make_node("Add", ["y", "r"], ["z"])],
    "sum": [make_node("Add", ["y", "low"], ["z"])],
    "gate of something else": [make_node("Sigmoid", ["y"], ["g"]), make_node("Mul", ["x", "g"], ["z"])],
    "steeper gate": [make_node("HardSigmoid", ["y"], ["g"], alpha=0.2), make_node("Mul", ["g", "y"], ["z"])],
}


def built(nodes: list[onnx.NodeProto]) -> onnx.ModelProto:
    weight = from_array(np.eye(4, dtype=np.float32), "w")
    values = [make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None, 4]) for name in ("x", "z")]
    graph = make_graph([make_node("Gemm", ["x", "w"], ["y"], "layer"), *nodes], "g", values[:1], values[1:], [weight, *SIX])
    return make_model(graph, opset_imports=[make_opsetid("", 20)], ir_version=9)


@pytest.mark.parametrize("name", BENT)
def test_it_is_what_the_runtime_computes(name: str) -> None:
    model = built(BENT[name])
    bend = bend_of(model, layers_of(model)[0])
    assert bend is not None
    x = np.linspace(-8, 8, 64, dtype=np.float32).reshape(-1, 4)
    np.testing.assert_allclose(bend(torch.from_numpy(x)).numpy(), graphs.run(graphs.session(model), x), atol=1e-5)


@pytest.mark.parametrize("name", STRAIGHT)
def test_anything_else_is_none(name: str) -> None:
    model = built(STRAIGHT[name])
    assert bend_of(model, layers_of(model)[0]) is None
