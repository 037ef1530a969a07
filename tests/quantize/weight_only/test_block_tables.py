"""Tables in blocks, by ONNX Runtime itself."""

from __future__ import annotations

import numpy as np
import pytest

from compress.backends import onnx_files, onnx_session
from compress.backends import onnx_graph as graphs
from compress.quantize.weight_only.block_tables import look_up_blocks, store
from compress.quantize.weight_only.blockwise import quantize_blocks
from tests.quantize.dynamic.test_embeddings import lookup

TABLE = np.random.default_rng(0).standard_normal((300, 80)).astype(np.float32)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("block", [16, 32, 64, 128])
@pytest.mark.parametrize("symmetric", [False, True])
def test_the_runtime_looks_up_the_dequantized_rows(bits: int, block: int, symmetric: bool) -> None:
    model = lookup(TABLE)
    weight = quantize_blocks(TABLE, bits, block, symmetric=symmetric)
    look_up_blocks(model, {"e": store(model, "e", weight, symmetric=symmetric)})
    model.graph.opset_imports["com.microsoft"] = 1
    onnx_files.check(graphs.to_proto(model))
    ids = np.arange(300, dtype=np.int64).reshape(3, 100)
    rows = onnx_session.create_session(model).run(None, {"ids": ids})[0].reshape(300, 80)
    np.testing.assert_allclose(rows, weight.dequantize(), rtol=1e-5, atol=1e-6)
    assert [str(node.name) for node in model.graph if node.op_type == "GatherBlockQuantized"] == ["look"]
