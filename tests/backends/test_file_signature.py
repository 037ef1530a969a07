from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from compress.backends import onnx_files
from compress.backends.file_signature import read_signature
from compress.core.errors import ConversionError
from compress.core.network_spec import NetworkSpec
from compress.core.signature import AxisSizes, Signature, TensorSpec

INT64, FLOAT = TensorProto.INT64, TensorProto.FLOAT
tensor = helper.make_tensor_value_info


@pytest.fixture
def build(tmp_path: Path) -> Callable[..., Path]:
    """Writes a graph of these nodes and inputs."""

    def write(nodes: list[Any], inputs: list[Any], weights: dict[str, np.ndarray] | None = None) -> Path:
        outputs = [tensor(nodes[-1].output[0], FLOAT, None)] if nodes else [tensor("w", FLOAT, None)]
        initializers = [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()]
        graph = helper.make_graph(nodes, "g", inputs, outputs, initializers)
        path = tmp_path / "m.onnx"
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
        return path

    return write


def identity(name: str = "x") -> list[Any]:
    return [helper.make_node("Identity", [name], ["y"])]


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        (["n", 3, 8, 8], ("batch", 3, 8, 8)),
        ([None, 3, None, None], ("batch", 3, "height", "width")),
        ([-1, 3, -1, 640], ("batch", 3, "height", 640)),
        (["p2o.DynamicDimension.0", "p2o.DynamicDimension.1"], ("batch", "x_axis1")),
        (["batch_size", "sequence"], ("batch", "sequence")),
        (["sequence_length", 576], ("sequence_length", 576)),
        ([2, None, 128], (2, "x_axis1", 128)),
        ([], ()),
    ],
)
def test_free_axes_have_the_files_names_or_telling_ones(build, shape, expected):
    assert read_signature(build(identity(), [tensor("x", FLOAT, shape)])).only_input.shape == expected


def test_axes_of_one_name_stay_equal_and_the_batch_of_one_input_is_that_of_all(build):
    inputs = [tensor("x", FLOAT, ["N", "length"]), tensor("state", FLOAT, [2, "N", 4]), tensor("rate", INT64, [])]
    signature = read_signature(build(identity(), inputs))
    assert [spec.shape for spec in signature.inputs] == [("batch", "length"), (2, "batch", 4), ()]
    assert [spec.dtype for spec in signature.inputs] == ["float32", "float32", "int64"]
    assert signature.free_axes == ("batch", "length")


def test_a_weight_that_is_listed_as_an_input_is_none(build):
    nodes = [helper.make_node("Add", ["x", "w"], ["y"])]
    path = build(nodes, [tensor("w", FLOAT, [4]), tensor("x", FLOAT, ["n", 4])], {"w": np.ones(4, np.float32)})
    assert [spec.name for spec in read_signature(path).inputs] == ["x"]


def test_integers_have_the_rows_of_the_table_that_they_index(build):
    table = {"int8": np.zeros((9, 4), np.int8), "scale": np.float32([0.5])}
    nodes = [
        helper.make_node("Cast", ["int8"], ["table"], to=FLOAT),
        helper.make_node("Mul", ["table", "scale"], ["scaled"]),
        helper.make_node("Cast", ["ids"], ["index"], to=INT64),
        helper.make_node("Gather", ["scaled", "index"], ["y"]),
    ]
    inputs = [tensor("ids", TensorProto.INT32, ["n", "t"]), tensor("mask", INT64, ["n", "t"]), tensor("other", INT64, ["n"])]
    ids, mask, other = read_signature(build(nodes, inputs, table)).inputs
    assert (ids.values, mask.values, other.values) == ((0, 8), (1, 1), None)


def test_a_scalar_has_the_value_that_the_graph_compares_it_with(build):
    constant = numpy_helper.from_array(np.array(16000), "c")
    nodes = [helper.make_node("Constant", [], ["c"], value=constant), helper.make_node("Equal", ["rate", "c"], ["y"])]
    assert read_signature(build(nodes, [tensor("rate", INT64, [])])).only_input.values == (16000, 16000)


def test_names_sizes_and_values_that_were_written_into_the_file_are_read(build):
    path = build(identity("ids"), [tensor("ids", INT64, ["n", None]), tensor("fixed", FLOAT, [2, 3])])
    ids = TensorSpec(name="ids", dtype="int64", shape=("batch", "tokens"), values=(5, 7))
    fixed = TensorSpec(name="fixed", shape=("batch", 3))
    written = Signature(inputs=(ids, fixed), sizes={"tokens": AxisSizes(1, 16, 64)})
    model = onnx.load(path)
    onnx_files.write_metadata(model, NetworkSpec(signature=written))
    onnx.save(model, path)
    signature = read_signature(path)
    assert signature.inputs[0] == ids
    assert signature.inputs[1].shape == (2, 3), "the file's own size counts"
    assert signature.sizes == {"tokens": AxisSizes(1, 16, 64)}
    model.metadata_props[-1].value = "{}"
    onnx.save(model, path)
    with pytest.raises(ConversionError, match="its metadata `signature` is damaged"):
        read_signature(path)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([], r"m\.onnx has no inputs, so its outputs are constant"),
        ([helper.make_tensor_sequence_value_info("x", FLOAT, ["n"])], "input 'x' is of type sequence; only tensors"),
        (
            [helper.make_value_info("x", helper.make_optional_type_proto(helper.make_tensor_type_proto(FLOAT, ["n"])))],
            "input 'x' is of type optional; only tensors",
        ),
        ([tensor("x", TensorProto.STRING, ["n"])], "input 'x' is text; export the network without its tokenizer"),
        ([tensor("x", TensorProto.COMPLEX64, ["n"])], "input 'x' is of type complex64; supported types are float32"),
        ([tensor("x", FLOAT, None)], "input 'x' has no rank"),
    ],
)
def test_inputs_that_cannot_be_fed_are_named(build, inputs, message):
    path = build([helper.make_node("Identity", ["w"], ["y"])], inputs, {"w": np.ones(4, np.float32)})
    with pytest.raises(ConversionError, match=message):
        read_signature(path)
