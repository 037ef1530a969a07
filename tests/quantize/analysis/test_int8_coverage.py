from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from torch import nn

from compress.backends import onnx_graph as graphs
from compress.core.errors import CompressError, ConversionError
from compress.core.record import Fact, Quantity
from compress.core.sentences import render
from compress.profile.layers.kernel_to_node import NodeOrigin
from compress.profile.layers.layer_times import OWN, LayerTimes, TimedKernel
from compress.quantize import schemes
from compress.quantize.analysis.float_fallback import FallbackReasons
from compress.quantize.analysis.int8_coverage import compute_coverage, compute_type
from compress.quantize.analysis.layer_report import (
    CONVERSIONS,
    LAYERS,
    compare_layers,
    is_quantized,
    known_reasons,
    report_layers,
)
from compress.quantize.calibration.observe import observe
from compress.quantize.qdq import quantize_graph as int8
from compress.quantize.qdq.placement import activations_to_calibrate
from tests.export.tiny import SPEC, split

SETTINGS = {"runtime": "a runtime", "threads": "1"}


def made(source: Path, folder: Path, *, exclude: tuple[str, ...] = ()) -> Path:
    model = graphs.load(source)
    seen = observe(
        graphs.to_ir(model), activations_to_calibrate(model, ("onnxruntime",)), [split(16, 0).inputs.numpy()], counts=False
    )
    ranges = {name: (one.low, one.high) for name, one in seen.items()}
    found = int8.quantize_static(model, ranges, "onnxruntime", per_channel=True, reduce_range=False, exclude=exclude)
    graphs.write_metadata(found, SPEC)
    graphs.save(found, folder / "int8.onnx")
    return folder / "int8.onnx"


@pytest.fixture(scope="module")
def compared(exported: Path, tmp_path_factory: pytest.TempPathFactory):
    """The small network with its depthwise convolution in float: a float part between integers."""
    path = made(exported, tmp_path_factory.mktemp("fused"), exclude=("depthwise.0",))
    found, notes = compare_layers(
        exported, path, known={"depthwise.0": Fact.of("quantize.float_by_keep_float", "depthwise.0")}, seconds=0.05
    )
    return found, notes


def row_of(found, module: str) -> dict:
    return next(row for row in found.layers if row["module"] == module)


def test_each_layer_says_what_it_runs_in_and_what_it_took(compared) -> None:
    found, _ = compared
    for module in ("stem.0", "point.0", "wide", "head"):
        row = row_of(found, module)
        assert row["runs_in"] == "int8"
        assert row["why"] == ""
        assert Quantity.model_validate(row["before_ms"]).how == Quantity.model_validate(row["after_ms"]).how == "measured"
    json.dumps((found.layers, found.conversions))


def test_a_layer_in_float_has_its_reason_and_its_conversions(compared) -> None:
    found, _ = compared
    row = row_of(found, "depthwise.0")
    assert row["runs_in"] == "float"
    assert "kept in float by keep_float" in row["why"]
    assert row["conversions_ms"]["value"] > 0


def test_the_isolated_pair_around_it_is_named_with_its_cost_and_the_input_is_not_isolated(compared) -> None:
    found, _ = compared
    (isolated,) = [row for row in found.conversions if row["isolated"]]
    assert "depthwise.0" in isolated["around"]
    assert (isolated["quantize"], isolated["dequantize"]) == (1, 1)
    assert isolated["conversions_ms"]["value"] == pytest.approx(row_of(found, "depthwise.0")["conversions_ms"]["value"])
    others = {row["around"] for row in found.conversions if not row["isolated"]}
    assert "the network's input" in others


def test_the_sums_are_those_of_all_kernels(compared) -> None:
    found, _ = compared
    parts = [found.results[f"quantized_in_{kind}_ms"].value for kind in ("int8", "float", "conversions")]
    assert sum(parts) == pytest.approx(found.results["quantized_ms"].value, rel=0.02)  # but for kernels of shapes
    assert all(part > 0 for part in parts)
    assert (found.note.values["int8_products"], found.note.values["products"]) == (4, 5)
    assert render(found.note).startswith("4 of 5 convolutions and products run in int8")


def test_every_node_of_the_float_file_is_in_one_row(compared, exported: Path) -> None:
    found, _ = compared
    names = [name for row in found.layers for name in row["nodes"].split(", ") if name]
    assert sorted(names) == sorted({node.name for node in graphs.load(exported).graph.node})


def kernel(operator: str, number: str, reads: str, gives: str, node: str = "", ms: float = 1.0, index: int = 0) -> TimedKernel:
    nodes = (NodeOrigin(node, operator, node),) if node else ()
    numbers = (index,) if node else ()
    return TimedKernel(operator, number, nodes, np.full(8, ms), numbers, tuple(reads.split()), tuple(gives.split()))


def layers_of(*kernels: TimedKernel) -> LayerTimes:
    return LayerTimes(kernels, np.ones(8), np.ones(8), SETTINGS)


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
    found = compute_coverage(
        layers_of(kernel("Conv", "float", "x", "y", "conv")), after, FallbackReasons(graph_of("one", "two"))
    )
    isolated, output = found.conversions
    assert (isolated["isolated"], isolated["around"], isolated["conversions_ms"]["value"]) == (True, "Erf one, Tanh two", 5.0)
    assert isolated["operators_ms"]["value"] == 2.0
    assert (output["isolated"], output["around"]) == (False, "the network's output")
    by_module = {row["module"]: row["conversions_ms"]["value"] for row in found.layers}
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


@pytest.mark.parametrize(
    ("operator", "number", "kind"),
    [
        ("QLinearConv", "int8", "int8"),
        ("MatMulIntegerToFloat", "int8 → float", "int8"),
        ("DynamicQuantizeMatMul", "float", "int8"),
        ("DequantizeLinear", "int8 → float", "conversion"),
        ("Cast", "float → float16", "conversion"),
        ("Cast", "int64 → float", "shapes"),
        ("Shape", "float → int64", "shapes"),
        ("MatMulNBits", "float", "float, weights of fewer bits"),
        ("Conv", "float", "float"),
    ],
)
def test_kinds_of_kernels(operator: str, number: str, kind: str) -> None:
    assert compute_type(kernel(operator, number, "a", "b")) == kind


def test_what_the_runtime_adds_is_its_own() -> None:
    pair = (NodeOrigin("", "QuantizeLinear", ""),)
    after = layers_of(TimedKernel("Transpose", "int8", pair, np.ones(8), (0,)))
    row, _ = compute_coverage(
        layers_of(kernel("Conv", "float", "x", "y", "conv")), after, FallbackReasons(graph_of("a"))
    ).layers
    assert row["module"] == OWN


@pytest.mark.parametrize(("scheme", "kind"), [("weight_int8", "float"), ("weight_int4", "float"), ("dynamic_int8", "int8")])
def test_other_schemes_are_told_as_well(exported: Path, tmp_path: Path, scheme: str, kind: str) -> None:
    model = graphs.load(exported)
    other = (
        schemes.dynamic_int8(model, per_channel=True)
        if scheme == "dynamic_int8"
        else schemes.weight_only(model, int(scheme[-1]))
    )
    graphs.save(other, tmp_path / "made.onnx")
    found, _ = compare_layers(exported, tmp_path / "made.onnx", seconds=0.02)
    heads = [row for row in found.layers if "head" in row["nodes"]]
    assert any(kind in row["runs_in"] for row in heads)
    if scheme != "dynamic_int8":
        assert all(row["why"] for row in heads)


def test_a_file_that_is_not_quantized_and_a_parent_that_is_not_one_are_refused(exported: Path, tmp_path: Path) -> None:
    path = made(exported, tmp_path)
    with pytest.raises(ConversionError, match="is not quantized"):
        compare_layers(exported, exported)
    with pytest.raises(ConversionError, match="is quantized itself"):
        compare_layers(path, path)
    stranger = graphs.load(exported)
    for node in stranger.graph.node:
        node.name = f"other.{node.name}"
    graphs.save(stranger, tmp_path / "stranger.onnx")
    with pytest.raises(ConversionError, match="no node name in common"):
        compare_layers(tmp_path / "stranger.onnx", path)
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(CompressError, match="is not an ONNX file"):
        compare_layers(exported, tmp_path / "text.onnx")
    assert not is_quantized(graphs.load(exported))


def test_for_a_record_a_fault_is_a_skip_and_reasons_come_from_what_was_skipped(exported: Path, tmp_path: Path) -> None:
    inputs = split(1, 0).inputs.numpy()
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
    assert "quantize.int8_coverage" in [note.code for note in outcome.notes if isinstance(note, Fact)]
