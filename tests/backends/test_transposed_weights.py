"""A table that is read by rows and multiplied by, as tied output layers do, is stored once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from compress.backends import onnx_files, onnx_session
from compress.backends import onnx_graph as graphs
from compress.backends.onnx_cleanup import strip
from compress.backends.transposed_weights import share_transposed

TABLE = np.random.default_rng(0).standard_normal((60, 32)).astype(np.float32)
IDS = np.array([[1, 5, 9]])
TIED = "h = Gather<axis = 0>(e, ids) [out] y = MatMul(h, d)"


def network(body: str, outputs: str = "float[n, m, k] y", **weights: np.ndarray) -> onnx.ModelProto:
    text = f"""<ir_version: 9, opset_import: ["": 18]> agraph (int64[n, m] ids) => ({outputs}) {{ {body} }}"""
    proto = onnx.parser.parse_model(text)
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in weights.items())
    return proto


def stripped(proto: onnx.ModelProto) -> onnx.ModelProto:
    model = graphs.to_ir(proto)
    strip(model)
    return graphs.to_proto(model)


def outputs(proto: onnx.ModelProto) -> np.ndarray:
    return onnx_session.create_session(proto).run(None, {"ids": IDS})[0]


@pytest.mark.parametrize("order", [("e", "d"), ("d", "e")])
def test_a_transpose_is_computed_from_the_table_and_passes_see_both(order: tuple[str, str]) -> None:
    arrays = {"e": TABLE, "d": TABLE.T.copy()}
    proto = network(TIED, **{name: arrays[name] for name in order})
    shared = stripped(proto)
    onnx_files.check(shared)
    assert [tensor.name for tensor in shared.graph.initializer] == ["e"]
    np.testing.assert_array_equal(outputs(shared), outputs(proto))
    model = graphs.to_ir(shared)
    assert {name: graphs.constant(value).tolist() for name, value in model.graph.initializers.items()} == {
        name: array.tolist() for name, array in arrays.items()
    }
    assert [node.op_type for node in model.graph] == ["Gather", "MatMul"]
    assert stripped(shared).SerializeToString() == shared.SerializeToString()


def test_the_runtime_computes_the_transpose_when_it_loads_the_file(tmp_path: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    shared = stripped(network(TIED, e=TABLE, d=TABLE.T))
    assert "Transpose" in {node.op_type for node in shared.graph.node}
    onnxruntime.InferenceSession(shared.SerializeToString(), options, providers=["CPUExecutionProvider"])
    assert "Transpose" not in {node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node}


@pytest.mark.parametrize(
    "proto",
    [
        network(TIED, e=TABLE[:20], d=TABLE[:20].T),
        network(TIED, e=TABLE, d=TABLE.T + 1),
        network(f"{TIED} z = Relu(d)", "float[n, m, k] y, float[a, b] z", e=TABLE, d=TABLE.T),
    ],
)
def test_small_and_other_matrices_and_those_with_other_readers_stay(proto: onnx.ModelProto) -> None:
    model = graphs.to_ir(proto)
    share_transposed(model)
    assert "Transpose" not in {node.op_type for node in model.graph}


def test_a_transpose_that_is_an_output_stays() -> None:
    model = graphs.to_ir(network("y = Transpose<perm = [1, 0]>(e)", "float[a, b] y", e=TABLE))
    assert [node.op_type for node in model.graph] == ["Transpose"]
