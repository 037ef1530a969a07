from __future__ import annotations

from pathlib import Path

from compress.backends import onnx_files
from compress.backends import onnx_graph as graphs
from compress.core.stage import Context
from compress.quantize.analysis.accuracy_vs_float import compare_with_float
from tests.quantize.analysis.kernels import made


def compare(exported: Path, quantized: Path, context: Context):
    layers = graphs.to_ir(onnx_files.load(exported))
    return compare_with_float(exported, quantized, context.data.validation, context.task, "int8", layers=layers)


def test_a_file_agrees_with_itself(context: Context, exported: Path) -> None:
    results, rows = compare(exported, exported, context)
    assert (results["agreement"].value, results["drop_validation"].value, results["size_ratio"].value) == (1.0, 0.0, 1.0)
    assert results["accuracy_validation_float"].value == results["accuracy_validation_int8"].value
    assert not {"sqnr_db", "sqnr_worst_layer_db"} & set(results)
    assert rows == ()


def test_the_worst_layer_is_that_of_the_rows(context: Context, exported: Path, tmp_path: Path) -> None:
    results, rows = compare(exported, made(exported, tmp_path), context)
    worst = min(rows, key=lambda row: row["sqnr_db"])
    assert abs(results["sqnr_worst_layer_db"].value - worst["sqnr_db"]) < 1e-3
    assert f"of layer {worst['layer']};" in results["sqnr_worst_layer_db"].detail
