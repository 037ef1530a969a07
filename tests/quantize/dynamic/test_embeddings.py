from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

from compress.backends import onnx_files, onnx_session
from compress.backends import onnx_graph as graphs
from compress.backends.onnx_cleanup import strip
from compress.quantize import schemes
from compress.quantize.dynamic.embeddings import quantize_embeddings

TABLE = (np.random.default_rng(0).standard_normal((400, 64)) * np.logspace(-3, 2, 400)[:, None]).astype(np.float32)


def lookup(table: np.ndarray, body: str = "[look] y = Gather<axis = 0>(e, ids)", outputs: str = "float[n, m, k] y") -> ir.Model:
    text = f"""<ir_version: 9, opset_import: ["": 18]> agraph (int64[n, m] ids) => ({outputs}) {{ {body} }}"""
    proto = onnx.parser.parse_model(text)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(table, "e"))
    return graphs.to_ir(proto)


def test_each_row_has_half_a_step_of_error_at_most() -> None:
    model = lookup(TABLE)
    assert quantize_embeddings(model) == ("look",)
    onnx_files.check(graphs.to_proto(model))
    ids = np.arange(400, dtype=np.int64).reshape(2, 200)
    found = onnx_session.create_session(model).run(None, {"ids": ids})[0].reshape(400, 64)
    steps = np.abs(TABLE).max(1) / 127
    assert (np.abs(found - TABLE).max(1) <= 0.501 * steps).all()
    assert len(graphs.to_proto(model).SerializeToString()) < 0.3 * TABLE.nbytes


@pytest.mark.parametrize(
    "model",
    [
        lookup(TABLE[:100]),
        lookup(TABLE, "[look] y = Gather<axis = 1>(e, ids)", "float[a, n, m] y"),
        lookup(TABLE, "[look] y = Gather<axis = 0>(e, ids) z = Relu(e)", "float[n, m, k] y, float[a, b] z"),
    ],
)
def test_small_tables_other_axes_and_other_readers_stay_in_float(model: ir.Model) -> None:
    before = len(model.graph)
    assert quantize_embeddings(model) == ()
    assert len(model.graph) == before


def test_a_name_that_is_excluded_stays_in_float() -> None:
    assert quantize_embeddings(lookup(TABLE), exclude=["look"]) == ()


def test_the_table_of_a_tied_layer_is_stored_once_in_int8_and_the_runtime_keeps_its_kernels(tmp_path: Path) -> None:
    model = lookup(TABLE, "h = Gather<axis = 0>(e, ids) [out] y = MatMul(h, d)", "float[n, m, v] y")
    graphs.add_initializer(model, "d", TABLE.T)
    (product,) = (node for node in model.graph if node.op_type == "MatMul")
    product.replace_input_with(1, model.graph.initializers["d"])
    quantized = schemes.dynamic_int8(model)
    strip(quantized)
    integers = [value for value in quantized.graph.initializers.values() if value.dtype == ir.DataType.INT8]
    assert [tuple(value.shape) for value in integers] == [TABLE.shape]
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    content = graphs.to_proto(quantized).SerializeToString()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    kernels = {node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node}
    assert "Transpose" not in kernels
    assert kernels & {"DynamicQuantizeMatMul", "MatMulIntegerToFloat"}
    ids = np.arange(300, 320, dtype=np.int64)[None]
    twice = onnx_session.create_session(schemes.dynamic_int8(model))
    np.testing.assert_array_equal(session.run(None, {"ids": ids})[0], twice.run(None, {"ids": ids})[0])


@pytest.mark.parametrize("seven_bits", [False, True])
def test_a_tied_table_has_the_bits_of_its_layer(seven_bits: bool) -> None:
    model = lookup(TABLE, "h = Gather<axis = 0>(e, ids) [out] y = MatMul(h, d)", "float[n, m, v] y")
    graphs.add_initializer(model, "d", TABLE.T)
    (product,) = (node for node in model.graph if node.op_type == "MatMul")
    product.replace_input_with(1, model.graph.initializers["d"])
    quantized = schemes.dynamic_int8(model, schemes.SchemeOptions(seven_bits=seven_bits))
    strip(quantized)
    (integers,) = (value for value in quantized.graph.initializers.values() if value.dtype == ir.DataType.INT8)
    assert np.abs(np.asarray(graphs.constant(integers)).astype(int)).max() == (63 if seven_bits else 127)
    untied = schemes.dynamic_int8(lookup(TABLE), schemes.SchemeOptions(seven_bits=seven_bits))
    (table,) = (value for value in untied.graph.initializers.values() if value.dtype == ir.DataType.INT8)
    assert np.abs(np.asarray(graphs.constant(table)).astype(int)).max() == 127
