"""Recipes that the one-verb commands write."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from compress.config.file_recipe import write_recipe
from compress.config.recipe import load
from compress.core.errors import ConversionError, DataError

CHAIN = [{"quantize": {"scheme": "int8"}}, {"export": {}}]


def image_network(folder: Path) -> Path:
    weight = onnx.numpy_helper.from_array(np.ones((2, 1, 3, 3), np.float32), "w")
    ends = [
        helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ("n", 1, 20, "width")),
        helper.make_tensor_value_info("y", TensorProto.FLOAT, None),
    ]
    graph = helper.make_graph([helper.make_node("Conv", ["pixels", "w"], ["y"])], "g", ends[:1], ends[1:], [weight])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "Net-1.onnx")
    return folder / "Net-1.onnx"


def test_a_file_without_data_gets_noise_and_the_recipe_loads(tmp_path: Path) -> None:
    path = image_network(tmp_path)
    recipe = load(write_recipe("quantize", str(path), None, CHAIN, tmp_path / "out")).recipe
    assert (recipe.name, recipe.task.name) == ("quantize_net_1", "outputs")
    assert (recipe.data.source, recipe.model.source) == (f"random:{path}", f"onnx:{path}")


def test_images_get_the_size_and_channels_of_the_network(tmp_path: Path) -> None:
    recipe = load(write_recipe("export", str(image_network(tmp_path)), str(tmp_path), CHAIN[1:], tmp_path / "out")).recipe
    assert recipe.data.source == f"images:{tmp_path}"
    assert (recipe.data.channels, recipe.data.sizes) == (1, {"height": 20, "width": 320})


def test_arrays_and_sources_are_told_apart(tmp_path: Path) -> None:
    arrays = load(write_recipe("export", str(image_network(tmp_path)), "x/data.npz", CHAIN[1:], tmp_path)).recipe.data.source
    assert arrays == f"npz:{Path.cwd() / 'x/data.npz'}"
    named = load(write_recipe("prune", "torchvision:resnet18", "digits", CHAIN[1:], tmp_path)).recipe
    assert (named.data.source, named.model.source, named.task.name) == ("digits", "torchvision:resnet18", "classification")


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="torchvision:resnet18 has no data of its own: give --data"):
        write_recipe("prune", "torchvision:resnet18", None, CHAIN, tmp_path)
    with pytest.raises(ConversionError, match="cannot read"):
        write_recipe("quantize", str(tmp_path / "no.onnx"), None, CHAIN, tmp_path)
