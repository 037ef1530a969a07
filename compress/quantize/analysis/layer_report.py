"""A quantized file and its float parent in ONNX Runtime, profiled in turns and compared layer by layer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import onnx

from compress.backends import onnx_graph as graphs
from compress.backends.runner import Array, Feeds
from compress.core.errors import CompressError, ConversionError
from compress.core.record import Fact, Metrics, Skipped
from compress.core.sentences import render
from compress.profile.layers import layer_times as layers
from compress.profile.layers.tables import Rows
from compress.quantize.analysis.float_fallback import FallbackReasons
from compress.quantize.analysis.int8_coverage import Int8Coverage, compute_coverage
from compress.quantize.qdq.rewrite_hardswish import original_node_name

INTEGERS = frozenset(
    {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulInteger", "ConvInteger", "QLinearConv",
     "QLinearMatMul", "DynamicQuantizeMatMul", "MatMulIntegerToFloat", "MatMulNBits", "QGemm"}
)  # fmt: skip
"""Operators of which a quantized file has at least one."""
HALVES = frozenset({onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16})
TOLD = ("kept in float", "a product of two", "ONNX Runtime")
"""How reasons begin that tell why an operator is in float."""
LAYERS, CONVERSIONS = "layers_in_int8", "conversions"
LEFT = re.compile(r"^\w+ (?P<name>.+?)(?: \(onnxruntime\))?$")
"""What a skipped operator is called in a record."""


def compare_layers(
    parent: Path,
    made: Path,
    *,
    feeds: Mapping[str, Feeds] | None = None,
    told: Mapping[str, str] | None = None,
    threads: int = 1,
    seconds: float = 2.0,
) -> tuple[Int8Coverage, tuple[Fact, ...]]:
    """Compare.

    Args:
        parent: Float ONNX file.
        made: What it was quantized to; its nodes are called as the parent's.
        feeds: Inputs of `float` and `quantized`; zeros of each file's own shapes when None.
        told: Known reasons for float, by name of the node.
        threads: Within an operator.
        seconds: Time to spend on each file, about.

    Returns:
        The comparison, and how the layers of each file stand to whole inferences.

    Raises:
        ConversionError: A file is not ONNX, `made` is not quantized, or `parent` is not its float parent.
        DeviceError: The files' input shapes are not known.
    """
    before, after = graphs.load(parent), graphs.load(made)
    _check(before, after, parent, made)
    measured = layers.measure({"float": parent, "quantized": made}, feeds, threads=threads, seconds=seconds)
    found = compute_coverage(measured["float"], measured["quantized"], FallbackReasons(after, told))
    return found, tuple(layer_times.total(name) for name, layer_times in measured.items())


@dataclass(frozen=True)
class ReportSection:
    """What a record holds of it; see `StageRecord` for the meaning of the fields."""

    results: Metrics = field(default_factory=dict)
    tables: dict[str, Rows] = field(default_factory=dict)
    notes: tuple[Fact | str, ...] = ()
    skipped: tuple[Skipped, ...] = ()


def report_layers(
    parent: Path, made: Path, skipped: Iterable[Fact], inputs: Array, *, threads: int, seconds: float
) -> ReportSection:
    """The comparison for a record; the reason where there is none.

    Args:
        parent: Float ONNX file.
        made: What it was quantized to, for ONNX Runtime.
        skipped: What is known to stay in float.
        inputs: One batch, (N, C, H, W).
        threads: Within an operator.
        seconds: Time to spend on each file, about.
    """
    feeds = {graphs.INPUT: inputs}
    try:
        found, totals = compare_layers(
            parent,
            made,
            feeds={"float": feeds, "quantized": feeds},
            told=known_reasons(skipped),
            threads=threads,
            seconds=seconds,
        )
    except CompressError as error:
        return ReportSection(skipped=(Skipped(what="what runs in int8", reason=str(error)),))
    return ReportSection(found.results, {LAYERS: found.layers, CONVERSIONS: found.conversions}, (found.note, *totals))


def is_quantized(model: onnx.ModelProto) -> bool:
    """Whether it holds integer operators, Q/DQ pairs, or numbers of half the width."""
    operators = {node.op_type for node in model.graph.node}
    return bool(INTEGERS & operators) or any(tensor.data_type in HALVES for tensor in model.graph.initializer)


def known_reasons(skipped: Iterable[Fact]) -> dict[str, str]:
    """Reasons by node, as `int8.left_in_float` words them."""
    found = ((LEFT.match(skip.subject), render(skip)) for skip in skipped if render(skip).startswith(TOLD))
    return {match["name"]: reason for match, reason in found if match}


def _check(before: onnx.ModelProto, after: onnx.ModelProto, parent: Path, made: Path) -> None:
    if not is_quantized(after):
        nothing = "it has no Q/DQ pairs, integer operators or half-precision weights"
        msg = f"{made} is not quantized: {nothing}; give a file that a quantize stage made"
        raise ConversionError(msg)
    if is_quantized(before):
        msg = f"{parent} is quantized itself; give the float file that {made.name} was made from"
        raise ConversionError(msg)
    names = [{original_node_name(node.name) for node in model.graph.node if node.name} for model in (before, after)]
    if not names[0] & names[1]:
        msg = (
            f"{parent} and {made} have no node name in common, so that one is not the other's float parent; give the right one"
        )
        raise ConversionError(msg)
