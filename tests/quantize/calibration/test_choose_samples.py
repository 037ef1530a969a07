from __future__ import annotations

from collections import Counter

import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper

from compress.backends import onnx_graph as graphs
from compress.core.errors import ConversionError
from compress.quantize.calibration.choose_samples import images_with_finite_outputs, sample_calibration_set
from tests.export.tiny import split


def test_samples_are_spread_over_the_classes_and_seeded() -> None:
    data = split(200, 0)
    chosen = sample_calibration_set(data, 16, classes=4, seed=0)
    where = [int((data.inputs.numpy() == variant).all(axis=(1, 2, 3)).argmax()) for variant in chosen]
    assert Counter(int(data.targets[index]) for index in where) == {0: 4, 1: 4, 2: 4, 3: 4}
    assert len(set(where)) == 16
    np.testing.assert_array_equal(chosen, sample_calibration_set(data, 16, classes=4, seed=0))
    assert not np.array_equal(chosen, sample_calibration_set(data, 16, classes=4, seed=1))


def test_small_split_is_taken_whole() -> None:
    data = split(10, 0)
    assert sorted(sample_calibration_set(data, 64, classes=4, seed=0).sum((1, 2, 3))) == sorted(
        data.inputs.numpy().sum((1, 2, 3))
    )


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
    np.testing.assert_array_equal(images_with_finite_outputs(standardizing(), images, 2), images[[0, 2, 4]])
    with pytest.raises(ConversionError, match="2 calibration images are of one value each"):
        images_with_finite_outputs(standardizing(), images[[1, 3]], 2)
    images[[0, 2, 4], 0, 0, 0] = 0.0
    images[[0, 2, 4], 0, 0, 1:] = -1.0
    images[[0, 2, 4], 0, 1] = -1.0
    with pytest.raises(ConversionError, match="outputs are not finite for any of 5 calibration images"):
        images_with_finite_outputs(standardizing(), images, 2)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_images_with_values_that_are_not_finite_are_refused(value: float) -> None:
    images = np.ones((4, 1, 2, 2), np.float32)
    images[2, 0, 0, 0] = value
    with pytest.raises(ConversionError, match="1 of 4 calibration images hold values that are not finite"):
        images_with_finite_outputs(standardizing(), images, 2)
