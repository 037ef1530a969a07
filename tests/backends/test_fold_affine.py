"""Folding keeps the function, and removes the operators, only where both are possible."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info
from onnx.numpy_helper import from_array

from compress.backends import onnx_graph as graphs
from compress.backends import onnx_session
from compress.backends.fold_affine import fold_affine

RANDOM = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    return RANDOM.normal(size=shape).astype(np.float32)


def chain(*nodes: onnx.NodeProto, arrays: dict[str, np.ndarray], shape: tuple[int, ...] = (2, 4, 6, 5)) -> onnx.ModelProto:
    """Nodes that each read the output of the one before, from `x` to `y`."""
    before = "x"
    for index, node in enumerate(nodes):
        node.input[:] = [before if name == "." else name for name in node.input]
        before = node.output[0] = "y" if index == len(nodes) - 1 else f"t{index}"
        node.name = f"{node.op_type}_{index}"
    ends = [make_tensor_value_info("x", 1, shape), make_tensor_value_info("y", 1, None)]
    graph = make_graph(nodes, "g", ends[:1], ends[1:], [from_array(array, name) for name, array in arrays.items()])
    return make_model(graph, opset_imports=[make_opsetid("", 17)], ir_version=9)


def node(operator: str, *inputs: str, **attributes: object) -> onnx.NodeProto:
    return make_node(operator, list(inputs), ["to be named"], **attributes)


def fold_and_compare(model: onnx.ModelProto) -> list[str]:
    """Operators after folding, whose outputs equal those before."""
    x = normal(*(dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim))
    folded = graphs.to_ir(model)
    fold_affine(folded)
    before, after = (onnx_session.create_session(each, optimised=False).run(None, {"x": x})[0] for each in (model, folded))
    np.testing.assert_allclose(after, before, rtol=1e-5, atol=1e-5)
    assert [value.name for value in folded.graph.outputs] == ["y"]
    return [each.op_type for each in folded.graph]


NORM = {"gamma": normal(6), "beta": normal(6), "mean": normal(6), "variance": np.abs(normal(6)) + 0.1}
BATCH_NORM = ("BatchNormalization", ".", *NORM)
CONV = {"w": normal(6, 4, 3, 3)}


@pytest.mark.parametrize("bias", [True, False])
def test_all_that_follows_a_convolution_is_one_convolution(bias: bool) -> None:
    arrays = {**CONV, **NORM, "b": normal(6), "s": normal(1), "o": np.array(0.7, np.float32), "k": normal(1, 6, 1, 1)}
    following = [node("Mul", "s", "."), node(*BATCH_NORM, epsilon=0.01), node("Sub", ".", "k"), node("Div", ".", "o")]
    first = node("Conv", ".", "w", *(["b"] if bias else []), pads=[1, 1, 1, 1])
    assert fold_and_compare(chain(first, *following, arrays=arrays)) == ["Conv"]


def test_groups_of_a_transposed_convolution_keep_their_channels() -> None:
    arrays = {"w": normal(4, 3, 2, 2), **NORM}
    assert fold_and_compare(chain(node("ConvTranspose", ".", "w", group=2), node(*BATCH_NORM), arrays=arrays)) == [
        "ConvTranspose"
    ]


@pytest.mark.parametrize("transposed", [0, 1])
def test_a_batch_norm_after_a_linear_layer_is_folded(transposed: int) -> None:
    arrays = {"w": normal(6, 4) if transposed else normal(4, 6), **NORM}
    nodes = [node("Gemm", ".", "w", transB=transposed), node(*BATCH_NORM)]
    assert fold_and_compare(chain(*nodes, arrays=arrays, shape=(3, 4))) == ["Gemm"]


def test_a_product_without_bias_input_takes_factors_alone() -> None:
    arrays = {"w": normal(4, 6), "s": normal(6), "o": normal(6)}
    nodes = [node("MatMul", ".", "w"), node("Mul", ".", "s"), node("Add", ".", "o")]
    assert fold_and_compare(chain(*nodes, arrays=arrays, shape=(2, 3, 4))) == ["MatMul", "Add"]


@pytest.mark.parametrize("padding", [0, 1])
def test_a_term_before_a_padded_convolution_stays_because_padding_is_zero(padding: int) -> None:
    arrays = {**CONV, "b": normal(6), "s": normal(1), "o": normal(1)}
    nodes = [node("Mul", ".", "s"), node("Add", ".", "o"), node("Conv", ".", "w", "b", pads=[padding] * 4)]
    assert fold_and_compare(chain(*nodes, arrays=arrays)) == (["Mul", "Add", "Conv"] if padding else ["Conv"])
    factor = [node("Mul", ".", "s"), node("Conv", ".", "w", "b", pads=[padding] * 4)]
    assert fold_and_compare(chain(*factor, arrays=arrays)) == ["Conv"]


@pytest.mark.parametrize(
    ("operator", "inputs", "arrays"),
    [
        ("Mul", (".", "s"), {"s": normal(4)}),  # of the last axis: columns
        ("Mul", (".", "s"), {"s": normal(1, 1, 1, 1, 1)}),  # one axis more than the output
        ("Div", ("s", "."), {"s": normal(1)}),
        ("Mul", (".", "."), {}),
        ("Add", (".", "."), {}),
    ],
)
def test_what_is_no_affine_map_of_channels_stays(operator: str, inputs: tuple[str, ...], arrays: dict[str, np.ndarray]) -> None:
    nodes = [node("Conv", ".", "w"), node(operator, *inputs)]
    assert fold_and_compare(chain(*nodes, arrays={"w": normal(6, 4, 3, 2), **arrays})) == ["Conv", operator]


def test_a_weight_of_two_layers_stays_as_it_is() -> None:
    arrays = {"w": normal(4, 4, 1, 1), "s": normal(1)}
    nodes = [node("Conv", ".", "w"), node("Mul", ".", "s"), node("Conv", ".", "w")]
    assert fold_and_compare(chain(*nodes, arrays=arrays)) == ["Conv", "Mul", "Conv"]


def test_an_output_that_is_also_read_stays() -> None:
    model = chain(node("Conv", ".", "w"), node("Mul", ".", "s"), arrays={**CONV, "s": normal(1)})
    model.graph.output.append(make_tensor_value_info("t0", 1, None))
    folded = graphs.to_ir(model)
    fold_affine(folded)
    assert [each.op_type for each in folded.graph] == ["Conv", "Mul"]
