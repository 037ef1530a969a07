"""Attributes with their types, and inputs that are tensors, numbers or left out."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch

from compress.backends import onnx_graph as graphs
from compress.backends.torch_operators.values import Attributes, Inputs, to_tensor


def test_attributes_have_the_types_of_the_file() -> None:
    tensor = onnx.numpy_helper.from_array(np.arange(3), "value")
    node = onnx.helper.make_node("Any", ["x"], ["y"], f=0.5, i=3, s="word", ints=[1, 2], value=tensor)
    x, y = (onnx.helper.make_tensor_value_info(name, 1, [1]) for name in "xy")
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "g", [x], [y]))
    (indexed,) = graphs.to_ir(model).graph
    attributes = Attributes.of(indexed)
    assert (attributes.number("f", 0.0), attributes.integer("i", 0), attributes.text("s", "")) == (0.5, 3, "word")
    assert attributes.integers("ints") == (1, 2)
    np.testing.assert_array_equal(attributes.array("value"), np.arange(3))
    assert (attributes.number("none", 2.0), attributes.integers("none"), attributes.array("none")) == (2.0, None, None)
    assert "i" in attributes
    assert "none" not in attributes


def test_inputs_are_read_as_what_an_operator_wants() -> None:
    inputs = Inputs([torch.ones(2), np.array([3, 4]), None, np.array(0.5, np.float32)])
    assert inputs.numbers(1) == [3, 4]
    assert inputs.tensor(1).tolist() == [3, 4]
    assert (inputs.number(3), inputs.number(0), inputs.number(2)) == (0.5, None, None)
    assert inputs.optional(2) is None
    assert not inputs.has(2)
    assert not inputs.has(9)
    with pytest.raises(NotImplementedError, match="omitted input 2"):
        inputs.tensor(2)


def test_numbers_of_mixed_types_become_a_tensor() -> None:
    numbers = np.empty(2, object)
    numbers[:] = [2, 5]
    assert to_tensor(numbers, torch.device("cpu")).tolist() == [2, 5]
