from __future__ import annotations

from pathlib import Path

import pytest
from torch import nn

from compress.backends import onnx_files
from compress.backends import onnx_graph as graphs
from compress.core.errors import CompressError, ConversionError
from compress.core.fact import Fact
from compress.quantize import schemes
from compress.quantize.analysis.layer_report import (
    CONVERSIONS,
    LAYERS,
    compare_layers,
    is_quantized,
    known_reasons,
    report_layers,
)
from tests.export.tiny import SPEC, split
from tests.quantize.analysis.kernels import made


@pytest.mark.parametrize(("scheme", "kind"), [("weight_int8", "float"), ("weight_int4", "float"), ("dynamic_int8", "int8")])
def test_other_schemes_are_told_as_well(exported: Path, tmp_path: Path, scheme: str, kind: str) -> None:
    model = onnx_files.load(exported)
    other = schemes.build_models(scheme, graphs.to_ir(model), ("onnxruntime",))
    onnx_files.save(other.models["onnxruntime"], tmp_path / "made.onnx")
    result, _ = compare_layers(exported, tmp_path / "made.onnx", seconds=0.02)
    heads = [row for row in result.layers if "head" in row["nodes"]]
    assert any(kind in row["runs_in"] for row in heads)
    if scheme != "dynamic_int8":
        assert all(row["why"] for row in heads)


def test_a_file_that_is_not_quantized_and_a_parent_that_is_not_one_are_refused(exported: Path, tmp_path: Path) -> None:
    path = made(exported, tmp_path)
    with pytest.raises(ConversionError, match="is not quantized"):
        compare_layers(exported, exported)
    with pytest.raises(ConversionError, match="is quantized itself"):
        compare_layers(path, path)
    stranger = onnx_files.load(exported)
    for node in stranger.graph.node:
        node.name = f"other.{node.name}"
    onnx_files.save(stranger, tmp_path / "stranger.onnx")
    with pytest.raises(ConversionError, match="no node name in common"):
        compare_layers(tmp_path / "stranger.onnx", path)
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(CompressError, match="is not an ONNX file"):
        compare_layers(exported, tmp_path / "text.onnx")
    assert not is_quantized(onnx_files.load(exported))


def test_for_a_record_a_fault_is_a_skip_and_reasons_come_from_what_was_skipped(exported: Path, tmp_path: Path) -> None:
    inputs = {"input": split(1, 0).inputs.numpy()}
    refused = report_layers(exported, exported, (), inputs, threads=1, seconds=0.02)
    assert refused.tables == {}
    (skip,) = refused.skipped
    assert skip.code == "quantize.layers_not_measured"
    assert "is not quantized" in skip.values["error"]
    values = {"operator": "Gemm", "runtime": "onnxruntime"}
    skips = (
        Fact.of("quantize.float_by_keep_float", "head", **values),
        Fact.of("quantize.float_no_kernel", "tail", runtime="tensorrt"),
    )
    assert known_reasons(skips) == {"head": skips[0]}
    good = report_layers(exported, made(exported, tmp_path, exclude=("head",)), skips, inputs, threads=1, seconds=0.02)
    assert set(good.tables) == {LAYERS, CONVERSIONS}
    assert next(row["why"] for row in good.tables[LAYERS] if row["module"] == "head") == "kept in float by keep_float"


def test_the_stage_records_it(network: nn.Module, context) -> None:
    from compress.core.stage import Candidate
    from compress.quantize.stage import Quantize

    outcome = Quantize(keep_float=("wide",)).run(Candidate(SPEC, network), context)
    row = next(row for row in outcome.tables[LAYERS] if row["module"] == "wide")
    assert (row["runs_in"], "keep_float" in row["why"]) == ("float", True)
    assert outcome.results["quantized_in_int8_ms"].value > 0
    assert "quantize.int8_coverage" in [note.code for note in outcome.notes]
