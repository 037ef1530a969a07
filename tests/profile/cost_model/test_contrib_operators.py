from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx

from compress.backends import onnx_files
from compress.profile.cost_model.executed_work import executed_work
from compress.profile.cost_model.operator_work import macs, operator_work

TEXT = """<ir_version: 9, opset_import: ["": 18, "com.microsoft": 1]>
    graph (float[n, 5, 64] x) => (float[n, 5, 32] y) {
        [p] p = com.microsoft.MatMulNBits<K = 64, N = 32, bits = 8, block_size = 32>(x, q, s)
        [g] g = com.microsoft.Gelu(p)
        [a] y = com.microsoft.MultiHeadAttention<num_heads = 4>(g, g, g)
    }"""


def file(tmp_path: Path) -> Path:
    model = onnx.parser.parse_model(TEXT)
    arrays = {"q": np.full((32, 2, 32), 130, np.uint8), "s": np.full((32, 2), 0.1, np.float32)}
    model.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in arrays.items())
    onnx_files.save(model, tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def test_products_are_those_of_the_standard_operators(tmp_path: Path) -> None:
    path = file(tmp_path)
    expected = 5 * 64 * 32 + 2 * 5 * 5 * 32  # the layer, then scores and weighted sums over five keys
    assert macs(path) == expected
    work = executed_work(path, {"x": np.zeros((1, 5, 64), np.float32)})
    assert (work.macs, work.uncounted) == (expected, ())


def test_names_and_types_are_those_of_the_file(tmp_path: Path) -> None:
    assert [(item.name, item.operator) for item in operator_work(file(tmp_path))] == [
        ("p", "MatMulNBits"),
        ("g", "Gelu"),
        ("a", "MultiHeadAttention"),
    ]
