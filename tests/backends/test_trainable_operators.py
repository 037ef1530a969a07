"""Operators without a torch counterpart are named with their node, and no others."""

from __future__ import annotations

import onnx
import pytest

from compress.backends import onnx_graph as graphs
from compress.backends.trainable_operators import check_trainable, nodes_of, untrainable, untrainable_sentence
from compress.core.errors import ConversionError


def model(*operators: tuple[str, str]) -> onnx.ModelProto:
    """A chain of operators, each with its domain."""
    names = [f"t{index}" for index in range(len(operators) + 1)]
    nodes = [
        onnx.helper.make_node(operator, [names[index]], [names[index + 1]], name=f"node_{index}", domain=domain)
        for index, (operator, domain) in enumerate(operators)
    ]
    ends = [onnx.helper.make_tensor_value_info(name, 1, ["n", 4]) for name in (names[0], names[-1])]
    return onnx.helper.make_model(onnx.helper.make_graph(nodes, "g", ends[:1], ends[1:]))


def test_a_network_of_known_operators_passes() -> None:
    given = model(("Relu", ""), ("Softmax", ""))
    assert untrainable(nodes_of(given)) == {}
    check_trainable(graphs.to_ir(given), "prune")


def test_each_unknown_operator_is_named_once_with_its_first_node() -> None:
    given = model(("Relu", ""), ("Hardmax", ""), ("Hardmax", ""), ("Gelu", "com.microsoft"))
    assert untrainable(nodes_of(given)) == {"Hardmax": "node_1", "com.microsoft.Gelu": "node_3"}
    with pytest.raises(
        ConversionError, match=r"operators Hardmax \(node_1\), com.microsoft.Gelu \(node_3\) of this ONNX file have"
    ):
        check_trainable(graphs.to_ir(given), "prune")


def test_one_operator_without_a_name_makes_a_sentence() -> None:
    sentence = untrainable_sentence({"NonZero": ""}, "quantize.recover")
    assert sentence.startswith("quantize.recover needs a network that can be trained, but operator NonZero (without a name)")
