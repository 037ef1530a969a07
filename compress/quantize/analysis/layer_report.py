"""A quantized file and its float parent in ONNX Runtime, profiled in turns and compared layer by layer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import onnx

from compress.backends import onnx_files
from compress.backends.runner_protocol import Feeds
from compress.core.errors import CompressError, ConversionError
from compress.core.fact import Fact
from compress.core.record import Metrics
from compress.profile.layers.layer_times import measure
from compress.profile.layers.tables import Rows
from compress.quantize.analysis.float_fallback import FallbackReasons
from compress.quantize.analysis.int8_coverage import Int8Coverage, compute_coverage
from compress.quantize.qdq.quantize_graph import FLOAT_REASONS
from compress.quantize.qdq.rewrite_hardswish import original_node_name

INTEGER_OPERATORS = frozenset(
    {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulInteger", "ConvInteger", "QLinearConv",
     "QLinearMatMul", "DynamicQuantizeMatMul", "MatMulIntegerToFloat", "MatMulNBits", "QGemm"}
)  # fmt: skip
"""Operators of which a quantized file has at least one."""
HALF_PRECISION = frozenset({onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16})
LAYERS, CONVERSIONS = "layers_in_int8", "conversions"
"""Names of the record's tables."""


def compare_layers(
    parent: Path,
    quantized: Path,
    *,
    feeds: Mapping[str, Feeds] | None = None,
    known: Mapping[str, Fact] | None = None,
    threads: int = 1,
    seconds: float = 2.0,
) -> tuple[Int8Coverage, tuple[Fact, ...]]:
    """Profile both files and compare their layers.

    Args:
        parent: Float ONNX file.
        quantized: File made from it, with the same names of nodes.
        feeds: Inputs of `float` and `quantized`; zeros of each file's own shapes when None.
        known: Known reasons for float, by name of the node.
        threads: Threads within an operator.
        seconds: Approximate time to spend on each file.

    Returns:
        The comparison, and for each file how the sum of its layers compares with whole inferences.

    Raises:
        ConversionError: A file is not ONNX, `quantized` is not quantized, or `parent` is not its float parent.
        DeviceError: The files' input shapes are not known.
    """
    before, after = onnx_files.load(parent), onnx_files.load(quantized)
    _check(before, after, parent, quantized)
    times = measure({"float": parent, "quantized": quantized}, feeds, threads=threads, seconds=seconds)
    coverage = compute_coverage(times["float"], times["quantized"], FallbackReasons(after, known))
    return coverage, tuple(layer_times.total(name) for name, layer_times in times.items())


@dataclass(frozen=True)
class ReportSection:
    """The comparison as a stage's record holds it; see `StageRecord` for the meaning of the fields."""

    results: Metrics = field(default_factory=dict)
    tables: dict[str, Rows] = field(default_factory=dict)
    notes: tuple[Fact, ...] = ()
    skipped: tuple[Fact, ...] = ()


def report_layers(
    parent: Path, quantized: Path, skipped: Iterable[Fact], inputs: Feeds, *, threads: int, seconds: float
) -> ReportSection:
    """The comparison for a record, or the reason why there is none.

    Args:
        parent: Float ONNX file.
        quantized: File made from it, for ONNX Runtime.
        skipped: What the stage skipped, with the nodes that stay in float.
        inputs: One batch, by the names of the files' inputs.
        threads: Threads within an operator.
        seconds: Approximate time to spend on each file.
    """
    feeds = dict.fromkeys(("float", "quantized"), inputs)
    try:
        coverage, totals = compare_layers(
            parent, quantized, feeds=feeds, known=known_reasons(skipped), threads=threads, seconds=seconds
        )
    except CompressError as error:
        return ReportSection(skipped=(Fact.of("quantize.layers_not_measured", error=str(error)),))
    tables = {LAYERS: coverage.layers, CONVERSIONS: coverage.conversions}
    return ReportSection(coverage.results, tables, (coverage.note, *totals))


def is_quantized(model: onnx.ModelProto) -> bool:
    """Whether a file has integer operators, Q/DQ pairs, or half-precision weights."""
    operators = {node.op_type for node in model.graph.node}
    is_half = any(tensor.data_type in HALF_PRECISION for tensor in model.graph.initializer)
    return bool(INTEGER_OPERATORS & operators) or is_half


def known_reasons(skipped: Iterable[Fact]) -> dict[str, Fact]:
    """Why nodes of the file for ONNX Runtime are in float, by name of the node, as `float_layers` recorded it."""
    return {
        fact.subject: fact for fact in skipped if fact.code in FLOAT_REASONS and fact.values.get("runtime") == "onnxruntime"
    }


def _check(before: onnx.ModelProto, after: onnx.ModelProto, parent: Path, quantized: Path) -> None:
    if not is_quantized(after):
        reason = "it has no Q/DQ pairs, integer operators or half-precision weights"
        msg = f"{quantized} is not quantized: {reason}; give a file that a quantize stage wrote"
        raise ConversionError(msg)
    if is_quantized(before):
        msg = f"{parent} is quantized itself; give the float file that {quantized.name} was made from"
        raise ConversionError(msg)
    names = [{original_node_name(node.name) for node in model.graph.node if node.name} for model in (before, after)]
    if not names[0] & names[1]:
        msg = (
            f"{parent} and {quantized} have no node name in common, so that one is not the other's float parent; give the "
            "right one"
        )
        raise ConversionError(msg)
