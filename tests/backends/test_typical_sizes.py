"""Typical sizes of free axes: those that the network runs on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from compress.backends.file_signature import read_signature
from compress.backends.typical_sizes import FRAMES, candidate_sizes, running_sizes
from compress.core.errors import ConversionError


def sequence(path: Path, *, kernel: int, length: int = 576) -> Path:
    """A convolution over samples (batch, length) without padding, then a product that fits one length alone."""
    weight = numpy_helper.from_array(np.ones((1, 1, kernel), np.float32), "w")
    head = numpy_helper.from_array(np.ones((length - kernel + 1, 2), np.float32), "head")
    axes = numpy_helper.from_array(np.array([1]), "axes")
    nodes = [
        helper.make_node("Unsqueeze", ["x", "axes"], ["u"]),
        helper.make_node("Conv", ["u", "w"], ["c"]),
        helper.make_node("MatMul", ["c", "head"], ["y"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", "length"])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "g", [x], [y], [weight, head, axes])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_sizes_are_tried_until_the_network_runs(tmp_path: Path) -> None:
    path = sequence(tmp_path / "m.onnx", kernel=3)
    signature = read_signature(path)
    assert [sizes["length"] for sizes in candidate_sizes(signature, ["length"])] == list(FRAMES)
    assert running_sizes(path, signature, ["length"]) == {"length": 576}


def test_a_file_that_runs_on_none_says_what_was_tried(tmp_path: Path) -> None:
    path = sequence(tmp_path / "m.onnx", kernel=3, length=577)
    with pytest.raises(
        ConversionError, match=r"runs at no typical size .*tried length 512; length 16000; .*data.sizes: .length: 512"
    ):
        running_sizes(path, read_signature(path), ["length"])


def test_a_file_that_cannot_be_loaded_gets_the_first(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    x = helper.make_tensor_value_info("x", TensorProto.INT64, ["batch", "length"])
    onnx.save(helper.make_model(helper.make_graph([], "g", [x], [])), path)
    assert running_sizes(path, read_signature(path), ["length"]) == {"length": 128}
