from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from compress.backends import first_divergence as nodes
from compress.backends.export_onnx import export_onnx
from tests.export.tiny import SPEC, split

Inputs = tuple[np.ndarray, ...]


@pytest.fixture(scope="module")
def inputs() -> tuple[np.ndarray, ...]:
    return (split(8, 3).inputs.numpy(),)


def test_torch_and_file_have_the_same_outputs_by_node(network: nn.Module, exported: Path, inputs: Inputs) -> None:
    a, b = nodes.torch_outputs(network, inputs), nodes.float_outputs(exported, inputs)
    found = {each.node: each.error for each in nodes.node_errors(a, b)}
    assert {"stem.0", "depthwise.0", "point.0", "wide", "head"} <= set(found)
    assert max(found.values()) < 1e-5


class Unfoldable(nn.Module):
    """torch.fx cannot follow it, so that the exporter folds the batch norm, and torch still has it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 4)
        self.norm.running_mean.fill_(0.3)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] != 3:
            raise ValueError(x.shape)
        for _ in range(int(x.shape[2] > 8)):
            x = self.norm(self.conv(x))
        return self.head(x.mean((2, 3)))


def test_convolution_is_compared_after_its_batch_norm(tmp_path: Path, inputs: Inputs) -> None:
    net = Unfoldable().eval()
    export_onnx(net, SPEC, tmp_path / "model.onnx")
    found = {
        each.node: each.error
        for each in nodes.node_errors(nodes.torch_outputs(net, inputs), nodes.float_outputs(tmp_path / "model.onnx", inputs))
    }
    assert found["conv"] < 1e-5


def changed(source: Path, target: Path, tensor: str) -> Path:
    model = onnx.load(source)
    one = next(each for each in model.graph.initializer if each.name == tensor)
    one.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(one) * 1.1, tensor))
    onnx.save(model, target)
    return target


@pytest.mark.parametrize(("tensor", "node"), [("point.0.weight", "point.0"), ("wide.weight", "wide"), ("head.weight", "head")])
def test_first_node_is_the_one_that_was_changed(
    network: nn.Module, exported: Path, inputs: Inputs, tmp_path: Path, tensor: str, node: str
) -> None:
    other = changed(exported, tmp_path / "other.onnx", tensor)
    told = nodes.describe_divergence(nodes.torch_outputs(network, inputs), nodes.float_outputs(other, inputs), 0.01)
    assert f"diverges is {node!r}" in told


def test_furthest_node_is_told_where_none_is_over_the_limit() -> None:
    a = {"one": np.array([1.0, 2.0]), "two": np.array([4.0])}
    b = {"one": np.array([1.0, 2.1]), "two": np.array([4.1])}
    assert "worst is 'one' with 5.00%" in nodes.describe_divergence(a, b, 0.5)


def test_not_a_number_is_apart_and_other_shapes_are_left_out() -> None:
    a = {"one": np.zeros(2), "two": np.zeros(3), "three": np.ones(2)}
    b = {"one": np.zeros(2), "two": np.zeros(4), "three": np.array([1.0, np.nan])}
    assert "diverges is 'three'" in nodes.describe_divergence(a, b, 1e9)
    assert "no node" in nodes.describe_divergence(a, {"four": np.ones(1)}, 0.0)


def test_networks_given_are_left_as_they_were(network: nn.Module, inputs: Inputs) -> None:
    nodes.torch_outputs(network, inputs)
    assert not any(module._forward_hooks for module in network.modules())
    assert torch.is_grad_enabled()


def test_a_file_of_a_fixed_batch_runs_on_as_many_samples(exported: Path, inputs: Inputs, tmp_path: Path) -> None:
    model = onnx.load(exported)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(model, tmp_path / "fixed.onnx")
    fixed, free = (nodes.float_outputs(path, inputs) for path in (tmp_path / "fixed.onnx", exported))
    np.testing.assert_allclose(fixed["head"], free["head"][:1], atol=1e-5)
