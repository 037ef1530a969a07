from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from compress.backends import onnx_files
from compress.core.fact import Fact
from compress.core.record import Quantity
from compress.core.sentences import render
from compress.profile.layers.kernel_to_node import NodeOrigin
from compress.profile.layers.layer_times import OWN, TimedKernel
from compress.quantize.analysis.float_fallback import FallbackReasons
from compress.quantize.analysis.int8_coverage import compute_coverage
from compress.quantize.analysis.layer_report import (
    compare_layers,
)
from tests.quantize.analysis.kernels import kernel, layers_of, made


@pytest.fixture(scope="module")
def compared(exported: Path, tmp_path_factory: pytest.TempPathFactory):
    """The small network with its depthwise convolution in float: a float part between integers."""
    path = made(exported, tmp_path_factory.mktemp("fused"), exclude=("depthwise.0",))
    result, notes = compare_layers(
        exported, path, known={"depthwise.0": Fact.of("quantize.float_by_keep_float", "depthwise.0")}, seconds=0.05
    )
    return result, notes


def row_of(result, module: str) -> dict:
    return next(row for row in result.layers if row["module"] == module)


def test_each_layer_says_what_it_runs_in_and_what_it_took(compared) -> None:
    result, _ = compared
    for module in ("stem.0", "point.0", "wide", "head"):
        row = row_of(result, module)
        assert row["runs_in"] == "int8"
        assert row["why"] == ""
        assert Quantity.model_validate(row["before_ms"]).how == Quantity.model_validate(row["after_ms"]).how == "measured"
    json.dumps((result.layers, result.conversions))


def test_a_layer_in_float_has_its_reason_and_its_conversions(compared) -> None:
    result, _ = compared
    row = row_of(result, "depthwise.0")
    assert row["runs_in"] == "float"
    assert "kept in float by keep_float" in row["why"]
    assert row["conversions_ms"]["value"] > 0


def test_the_isolated_pair_around_it_is_named_with_its_cost_and_the_input_is_not_isolated(compared) -> None:
    result, _ = compared
    (isolated,) = [row for row in result.conversions if row["isolated"]]
    assert "depthwise.0" in isolated["around"]
    assert (isolated["quantize"], isolated["dequantize"]) == (1, 1)
    assert isolated["conversions_ms"]["value"] == pytest.approx(row_of(result, "depthwise.0")["conversions_ms"]["value"])
    others = {row["around"] for row in result.conversions if not row["isolated"]}
    assert "the network's input" in others


def test_the_sums_are_those_of_all_kernels(compared) -> None:
    result, _ = compared
    parts = [result.results[f"quantized_in_{kind}_ms"].value for kind in ("int8", "float", "conversions")]
    assert sum(parts) == pytest.approx(result.results["quantized_ms"].value, rel=0.02)  # but for kernels of shapes
    assert all(part > 0 for part in parts)
    assert (result.note.values["int8_products"], result.note.values["products"]) == (4, 5)
    assert render(result.note).startswith("4 of 5 convolutions and products run in int8")


def test_every_node_of_the_float_file_is_in_one_row(compared, exported: Path) -> None:
    result, _ = compared
    names = [name for row in result.layers for name in row["nodes"].split(", ") if name]
    assert sorted(names) == sorted({node.name for node in onnx_files.load(exported).graph.node})


def graph_of(*names: str) -> onnx.ModelProto:
    nodes = [onnx.helper.make_node("Erf", ["x"], [name], name) for name in names]
    return onnx.helper.make_model(onnx.helper.make_graph(nodes, "g", [], []))


def test_float_operators_that_hang_together_are_one_part() -> None:
    after = layers_of(
        kernel("QLinearConv", "int8", "q", "a", "conv"),
        kernel("DequantizeLinear", "int8 → float", "a", "b", ms=2.0),
        kernel("Erf", "float", "b", "c", "one", index=0),
        kernel("Tanh", "float", "c", "d", "two", index=1),
        kernel("QuantizeLinear", "float → int8", "d", "e", ms=3.0),
        kernel("QLinearConv", "int8", "e", "f", "last"),
        kernel("DequantizeLinear", "int8 → float", "f", "y", ms=0.5),
    )
    result = compute_coverage(
        layers_of(kernel("Conv", "float", "x", "y", "conv")), after, FallbackReasons(graph_of("one", "two"))
    )
    isolated, output = result.conversions
    assert (isolated["isolated"], isolated["around"], isolated["conversions_ms"]["value"]) == (True, "Erf one, Tanh two", 5.0)
    assert isolated["operators_ms"]["value"] == 2.0
    assert (output["isolated"], output["around"]) == (False, "the network's output")
    by_module = {row["module"]: row["conversions_ms"]["value"] for row in result.layers}
    assert (by_module["one"], by_module["two"], by_module["last"]) == (2.0, 3.0, 0.0)


def test_what_either_file_fuses_is_one_layer() -> None:
    add = NodeOrigin("block/Add", "Add", "block")
    conv = NodeOrigin("block.conv", "Conv", "block.conv")
    before = layers_of(TimedKernel("FusedConv", "float", (conv, add), np.full(8, 4.0), (0, 1)))
    after = layers_of(*(TimedKernel("QLinear", "int8", (one,), np.full(8, 1.0), (0,)) for one in (conv, add)))
    (row,) = compute_coverage(before, after, FallbackReasons(graph_of("a", "b"))).layers
    assert (row["module"], row["before_ms"]["value"], row["after_ms"]["value"]) == ("block.conv", 4.0, 2.0)
    assert row["operators"] == "QLinear"


def test_halves_of_a_split_gate_belong_to_the_node_that_they_were() -> None:
    swish = NodeOrigin("act/HardSwish", "HardSwish", "act")
    halves = [NodeOrigin(f"act/HardSwish/{half}", "Mul", "act.HardSwish") for half in ("gate", "product")]
    before = layers_of(TimedKernel("HardSwish", "float", (swish,), np.full(8, 1.0), (0,)))
    after = layers_of(*(TimedKernel("QLinearMul", "int8", (half,), np.full(8, 1.0), (0,)) for half in halves))
    (row,) = compute_coverage(before, after, FallbackReasons(graph_of("a"))).layers
    assert (row["nodes"], row["after_ms"]["value"]) == ("act/HardSwish", 2.0)


def test_what_the_runtime_adds_is_its_own() -> None:
    pair = (NodeOrigin("", "QuantizeLinear", ""),)
    after = layers_of(TimedKernel("Transpose", "int8", pair, np.ones(8), (0,)))
    row, _ = compute_coverage(
        layers_of(kernel("Conv", "float", "x", "y", "conv")), after, FallbackReasons(graph_of("a"))
    ).layers
    assert row["module"] == OWN
