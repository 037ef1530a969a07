"""A graph in torch: constants, the memory of steps, operators that fail."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from compress.backends.graph_module import GraphModule, GraphStep
from compress.backends.torch_operators.values import Attributes
from compress.core.errors import ConversionError

NONE = Attributes({})
STEPS = [
    GraphStep("MatMul", ("x", "w"), ("h",), NONE, "product"),
    GraphStep("Add", ("h", "b"), ("s",), NONE, "sum"),
    GraphStep("Reshape", ("s", "shape"), ("y",), NONE, "rows"),
]
ARRAYS = {"w": np.eye(4, dtype=np.float64) * 2, "b": np.float32(1.0).reshape(()), "shape": np.array([-1, 2])}


def test_floats_are_weights_or_buffers_and_integers_numbers() -> None:
    network = GraphModule(STEPS, ARRAYS, ["x"], ["y"], frozenset(("w",)))
    assert [tuple(weight.shape) for weight in network.parameters()] == [(4, 4)]
    assert set(network.constants.numbers) == {"b", "shape"}
    x = torch.arange(8.0).view(2, 4)
    torch.testing.assert_close(network(x), (2 * x + 1).view(-1, 2))
    network(x).sum().backward()
    assert all(weight.grad is not None for weight in network.parameters())
    other = copy.deepcopy(network).double()
    assert other(x).dtype == torch.float64


def test_tensors_are_freed_after_their_last_reader() -> None:
    network = GraphModule(STEPS, ARRAYS, ["x"], ["y", "h"])
    assert [step.last_uses for step in network.steps] == [(), (), ("s",)]
    rows, product = network(torch.ones(1, 4))
    assert (tuple(rows.shape), tuple(product.shape)) == ((2, 2), (1, 4))


def test_an_attribute_that_torch_has_not_is_named_with_its_node() -> None:
    step = GraphStep("Resize", ("x", "", "", "sizes"), ("y",), Attributes({"antialias": 1}), "up")
    network = GraphModule([step], {"sizes": np.array([1, 1, 4, 4])}, ["x"], ["y"])
    with pytest.raises(ConversionError, match=r"operator Resize with antialias \(up\) has no torch equivalent here"):
        network(torch.ones(1, 1, 2, 2))
