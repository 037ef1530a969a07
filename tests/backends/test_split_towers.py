"""A file with two towers in two files."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from compress.backends import onnx_files
from compress.backends.split_towers import TOWERS, split_towers
from compress.core.errors import ConversionError
from compress.core.network_spec import ImagePreprocessing, ImageTextPreprocessing, NetworkSpec, TextPreprocessing
from compress.core.signature import AxisSizes, Signature, TensorSpec

SPEC = NetworkSpec(
    signature=Signature(
        inputs=(
            TensorSpec(name="image", shape=("batch", 4)),
            TensorSpec(name="input_ids", dtype="int64", shape=("batch", "sequence"), values=(0, 9)),
        ),
        outputs=tuple(TensorSpec(name=f"{kind}_embedding", shape=("batch", 3)) for kind in ("image", "text")),
        sizes={"sequence": AxisSizes(1, 4, 8)},
    ),
    preprocessing=ImageTextPreprocessing(
        image=ImagePreprocessing(mean=(0.5,), std=(0.5,)), text=TextPreprocessing(tokenizer="0" * 64, max_length=8)
    ),
)


def write(path, *, crossed=False):
    """Image · W, and a sum of rows of a table that is expanded to the batch of the image."""
    weights = {
        "w": np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32),
        "table": np.random.default_rng(1).normal(size=(10, 3)).astype(np.float32),
        "axes": np.array([1]),
        "bias": np.ones((1, 3), np.float32),
        "width": np.array([3]),
    }
    nodes = [
        helper.make_node("MatMul", ["image", "w"], ["image_embedding"]),
        helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
        helper.make_node("ReduceSum", ["rows", "axes"], ["sum"], keepdims=0),
        helper.make_node("Shape", ["image"], ["size"], start=0, end=1),
        helper.make_node("Concat", ["size", "width"], ["shape"], axis=0),
        helper.make_node("Expand", ["bias", "shape"], ["wide"]),
        helper.make_node("Add", ["sum", "image_embedding" if crossed else "wide"], ["text_embedding"]),
    ]
    inputs = [
        helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 4]),
        helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "sequence"]),
    ]
    outputs = [helper.make_tensor_value_info(f"{kind}_embedding", TensorProto.FLOAT, ["batch", 3]) for kind in TOWERS]
    initializers = [numpy_helper.from_array(values, name) for name, values in weights.items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, path)


def test_each_tower_takes_its_own_inputs_and_gives_the_same(tmp_path):
    write(tmp_path / "model.onnx")
    split_towers(tmp_path / "model.onnx", tmp_path, SPEC)
    feeds = {"image": np.ones((2, 4), np.float32), "input_ids": np.array([[1, 2, 3], [4, 5, 6]])}
    both = onnxruntime.InferenceSession(tmp_path / "model.onnx").run(None, feeds)
    for kind, whole, name in zip(TOWERS, both, feeds, strict=True):
        session = onnxruntime.InferenceSession(tmp_path / TOWERS[kind])
        assert [each.name for each in session.get_inputs()] == [name]
        np.testing.assert_array_equal(session.run(None, {name: feeds[name]})[0], whole)
        assert onnx_files.read_metadata(tmp_path / TOWERS[kind])["signature"]["inputs"][0]["name"] == name
    (weight,) = onnx_files.load(tmp_path / TOWERS["image"]).graph.initializer
    assert weight.name == "w"


def test_a_tower_that_needs_the_other_one_stays(tmp_path):
    write(tmp_path / "model.onnx", crossed=True)
    with pytest.raises(ConversionError, match=r"text_embedding of model\.onnx also needs image"):
        split_towers(tmp_path / "model.onnx", tmp_path, SPEC)
