from __future__ import annotations

import copy
import dataclasses
from pathlib import Path

import onnx
import pytest
import torch
from torch import nn

from compress.backends.export_onnx import export_onnx
from compress.core.errors import ConversionError
from compress.core.stage import Candidate, Context
from compress.export.parity import ParityTable
from compress.export.parity_chain import compare_float, compare_runtime
from compress.export.settings import Tolerance
from compress.export.stage import Export
from compress.quantize.stage import Quantize
from tests.export.tiny import SPEC, Target

HOST, JETSON = Target("host", "onnxruntime"), Target("jetson", "tensorrt")


def test_torch_and_its_export_are_two_rows(network: nn.Module, context: Context, exported: Path) -> None:
    pairs = ParityTable(context.task)
    agreement = compare_float(Candidate(SPEC, network), exported, context, Tolerance(), pairs)
    assert agreement.max_abs < 1e-4
    assert [(row["pair"], row["samples"]) for row in pairs.rows] == [("torch", 60), ("torch → ONNX float32", 60)]
    assert pairs.rows[1]["limit"] == "0.0001 + 0.001 × largest output"


def test_a_file_is_compared_with_the_runtime_that_it_ships_with(context: Context, exported: Path) -> None:
    pairs = ParityTable(context.task)
    compare_runtime("onnxruntime", exported, context, pairs)
    (row,) = pairs.rows
    assert row["pair"].startswith("model.onnx as written → ")
    assert row["max_abs"] < 1e-4
    assert row["samples"] == 60


def test_all_forms_of_the_chain_are_compared_in_pairs(network: nn.Module, context: Context, exported: Path) -> None:
    context = dataclasses.replace(context, targets=(HOST, JETSON), float_file=exported, load_float_network=lambda: network)
    quantized = Quantize(calibration={"method": "minmax"}).run(Candidate(SPEC, network), context).candidate
    outcome = Export(formats=("onnx", "tensorrt")).run(quantized, context)
    rows = outcome.tables["parity"]
    assert [row["pair"] for row in rows] == [
        "torch",
        "torch → ONNX float32",
        "ONNX float32 → ONNX int8 as written",
        "ONNX float32 → ONNX int8 for tensorrt, as written",
        "ONNX int8 as written → fused kernels",
        "ONNX → TensorRT engine",
    ]
    assert rows[1]["max_abs"] < 1e-4 < rows[2]["max_abs"]
    assert all(row["top1"] > 0.9 and row["accuracy"] > 0.7 for row in rows[1:5])
    assert "not measured" in rows[5]["limit"]


def test_int8_that_answers_otherwise_is_refused_with_the_first_node(
    network: nn.Module, context: Context, exported: Path, tmp_path: Path
) -> None:
    other = copy.deepcopy(network)
    with torch.no_grad():
        other.get_parameter("wide.weight").neg_()
    export_onnx(other, SPEC, tmp_path / "other.onnx")
    broken = dataclasses.replace(context, to_onnx=lambda _: tmp_path / "other.onnx")
    quantized = Quantize(calibration={"method": "minmax"}).run(Candidate(SPEC, other), broken).candidate
    context = dataclasses.replace(context, float_file=exported, load_float_network=lambda: network)
    with pytest.raises(
        ConversionError, match=r"ONNX float32 against ONNX int8 .* at least 90.0% is required.* diverges is 'wide'"
    ):
        Export(tolerance={"top1": 0.9}).run(quantized, context)


def test_export_that_computes_something_else_is_refused(network: nn.Module, context: Context, tmp_path: Path) -> None:
    model = onnx.load(context.to_onnx(Candidate(SPEC, network)))
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == "head.weight")
    tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor) * 1.01, tensor.name))
    onnx.save(model, tmp_path / "other.onnx")
    wrong = dataclasses.replace(context, to_onnx=lambda _: tmp_path / "other.onnx")
    with pytest.raises(ConversionError, match=r"torch against its ONNX export.* diverges is 'head'"):
        Export().run(Candidate(SPEC, network), wrong)
    assert not (context.folder / "artifacts").exists()
    Export(tolerance={"relative": 0.1}).run(Candidate(SPEC, network), wrong)
