"""Noise of the shapes that a file asks for, marked as noise."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch
from onnx import TensorProto, helper

from compress.backends.random_inputs import load
from compress.core.sentences import render
from compress.data.settings import DataSettings, DataSource


@pytest.fixture
def path(tmp_path: Path) -> Path:
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ("n", "length")),
        helper.make_tensor_value_info("state", TensorProto.FLOAT, (2, "n", 3)),
        helper.make_tensor_value_info("sr", TensorProto.INT64, ()),
    ]
    onnx.save(helper.make_model(helper.make_graph([], "g", inputs, [])), tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


def test_samples_have_the_shapes_of_the_file_and_come_again(path: Path) -> None:
    settings = DataSettings(source=f"random:{path}", sizes={"length": 7}, limit=5, evaluation_limit=2)
    first, again = (load(settings, DataSource("random", str(path), path.parent)) for _ in range(2))
    batch, other = next(iter(first.train.ordered(3))), next(iter(again.train.ordered(3)))
    shapes = {name: tuple(values.shape) for name, values in batch.inputs.items()}
    assert shapes == {"x": (3, 7), "state": (3, 2, 1, 3), "sr": (3,)}
    assert all(torch.equal(batch.inputs[name], other.inputs[name]) for name in shapes)
    assert (len(first.train), len(first.validation), len(first.test)) == (5, 2, 2)
    assert not torch.equal(batch.inputs["x"][0], next(iter(first.test.ordered(1))).inputs["x"][0])


def test_the_record_says_that_inputs_are_noise_and_which_sizes_are_guessed(path: Path) -> None:
    data = load(DataSettings(source=f"random:{path}"), DataSource("random", str(path), path.parent))
    (warning,) = data.warnings
    assert "inputs are random noise" in render(warning)
    assert "sizes of free axes are assumed: length=512" in render(warning)
