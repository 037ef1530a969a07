"""Weights of several files in one file, each once."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from compress.backends import onnx_files
from compress.backends.shared_weights import ALIGNMENT, WEIGHTS, share_weights
from compress.core.errors import ConversionError

TABLE = np.random.default_rng(0).normal(size=(64, 32)).astype(np.float32)


def model(path, own):
    """x · table + own, with a small weight and one that is stored as numbers."""
    weights = [numpy_helper.from_array(TABLE, "table"), helper.make_tensor("own", TensorProto.FLOAT, [512, 32], own.ravel())]
    nodes = [helper.make_node("MatMul", ["x", "table"], ["y"]), helper.make_node("Add", ["y", "own"], ["z"])]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [512, width]) for name, width in (("x", 64), ("z", 32))]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], weights)
    onnx_files.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)


def test_files_give_the_same_and_equal_weights_are_stored_once(tmp_path):
    own = [np.full((512, 32), value, np.float32) for value in (1.0, 2.0)]
    x = np.ones((512, 64), np.float32)
    for name, values in zip("ab", own, strict=True):
        model(tmp_path / f"{name}.onnx", values)
    before = [onnxruntime.InferenceSession(tmp_path / f"{name}.onnx").run(None, {"x": x})[0] for name in "ab"]
    path = share_weights(tmp_path, ("a.onnx", "b.onnx"))
    assert path == tmp_path / WEIGHTS
    assert path.stat().st_size == TABLE.nbytes + 2 * own[0].nbytes
    for name, expected in zip("ab", before, strict=True):
        file = tmp_path / f"{name}.onnx"
        assert file.stat().st_size < 2000
        np.testing.assert_array_equal(onnxruntime.InferenceSession(file).run(None, {"x": x})[0], expected)
        np.testing.assert_array_equal(numpy_helper.to_array(onnx_files.load(file).graph.initializer[0]), TABLE)
        stored = onnx.load(file, load_external_data=False).graph.initializer
        assert all(int(each.external_data[1].value) % ALIGNMENT == 0 for each in stored)


def test_a_file_that_is_no_onnx_is_refused(tmp_path):
    (tmp_path / "a.onnx").write_bytes(b"no")
    with pytest.raises(ConversionError, match="not an ONNX file"):
        share_weights(tmp_path, ("a.onnx",))
    assert not (tmp_path / WEIGHTS).exists()


def test_a_file_refers_to_weights_that_are_stored_already(tmp_path):
    own = np.full((512, 32), 2.0, np.float32)
    for name in "ab":
        model(tmp_path / f"{name}.onnx", own)
    places = {}
    first = share_weights(tmp_path, ("a.onnx",), "first.data", places)
    assert first == tmp_path / "first.data"
    assert len(places) == 2
    assert share_weights(tmp_path, ("b.onnx",), places=places).stat().st_size == 0
    x = np.ones((512, 64), np.float32)
    results = [onnxruntime.InferenceSession(tmp_path / f"{name}.onnx").run(None, {"x": x})[0] for name in "ab"]
    np.testing.assert_array_equal(*results)
