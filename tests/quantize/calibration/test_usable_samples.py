from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper

from compress.backends import onnx_graph as graphs
from compress.core.errors import ConversionError
from compress.quantize.calibration.usable_samples import samples_with_finite_outputs


def named(images: np.ndarray) -> list[dict[str, np.ndarray]]:
    return [{"x": images[index : index + 1]} for index in range(len(images))]


def standardizing() -> ir.Model:
    """Divides each image by its largest value."""
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["largest"], keepdims=1, axes=[1, 2, 3]),
        helper.make_node("Div", ["x", "largest"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 1, 2, 2]) for name in "xy"]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:])
    return graphs.to_ir(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10))


def test_images_without_finite_outputs_are_left_out() -> None:
    images = np.random.default_rng(0).uniform(1, 2, (5, 1, 2, 2)).astype(np.float32)
    images[[1, 3]] = 0.0
    usable = samples_with_finite_outputs(standardizing(), named(images), 2)
    np.testing.assert_array_equal(np.concatenate([sample["x"] for sample in usable]), images[[0, 2, 4]])
    with pytest.raises(ConversionError, match="2 calibration samples are constant"):
        samples_with_finite_outputs(standardizing(), named(images[[1, 3]]), 2)
    images[[0, 2, 4], 0, 0, 0] = 0.0
    images[[0, 2, 4], 0, 0, 1:] = -1.0
    images[[0, 2, 4], 0, 1] = -1.0
    with pytest.raises(ConversionError, match="no finite outputs for any of 5 calibration samples"):
        samples_with_finite_outputs(standardizing(), named(images), 2)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_images_with_values_that_are_not_finite_are_refused(value: float) -> None:
    images = np.ones((4, 1, 2, 2), np.float32)
    images[2, 0, 0, 0] = value
    with pytest.raises(ConversionError, match="1 of 4 calibration samples have values that are not finite"):
        samples_with_finite_outputs(standardizing(), named(images), 2)


def accumulating() -> ir.Model:
    """Adds the square root of a sample to a state that has no axis of samples, scaled by a number."""
    nodes = [
        helper.make_node("Sqrt", ["x"], ["root"]),
        helper.make_node("Mul", ["root", "factor"], ["scaled"]),
        helper.make_node("Add", ["scaled", "state"], ["next"]),
    ]
    inputs = [
        helper.make_tensor_value_info("state", TensorProto.FLOAT, [2, 1, 3]),
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3]),
        helper.make_tensor_value_info("factor", TensorProto.FLOAT, []),
    ]
    graph = helper.make_graph(nodes, "g", inputs, [helper.make_tensor_value_info("next", TensorProto.FLOAT, [2, 1, 3])])
    return graphs.to_ir(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10))


def test_a_network_with_a_state_gets_one_sample_at_a_time() -> None:
    x = np.array([[1, 2, 3], [1, -2, 3], [4, 5, 6]], np.float32)
    samples = [
        {"x": x[index : index + 1], "state": np.zeros((1, 2, 1, 3), np.float32), "factor": np.ones(1, np.float32)}
        for index in range(3)
    ]
    usable = samples_with_finite_outputs(accumulating(), samples, 8)
    assert [float(sample["x"][0, 0]) for sample in usable] == [1.0, 4.0]
