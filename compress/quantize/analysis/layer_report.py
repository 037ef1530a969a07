"""Profile a quantized file and its float parent in turns in ONNX Runtime and compare them layer by layer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import onnx

from compress.backends import onnx_files
from compress.backends.runner_protocol import Feeds
from compress.core.errors import CompressError, ConversionError
from compress.core.fact import Fact
from compress.core.language import gettext, message_of
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
"""Operators that mark a file as quantized."""
HALF_PRECISION = frozenset({onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16})
SMALL_INTEGERS = frozenset(
    {onnx.TensorProto.INT8, onnx.TensorProto.UINT8, onnx.TensorProto.INT4, onnx.TensorProto.UINT4}
)  # fmt: skip
LAYERS, CONVERSIONS = "layers_in_int8", "conversions"
"""Names of the tables in the record."""


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
        quantized: File quantized from it, with the same node names.
        feeds: Inputs of `float` and `quantized`; None feeds zeros in the input shapes of each file.
        known: Known reasons for float nodes, by name of the node.
        threads: Threads within an operator.
        seconds: Approximate time per file.

    Returns:
        The comparison, and for each file a fact on the sum of its layer times and the latency of whole inferences.

    Raises:
        ConversionError: A file is not ONNX, `quantized` is not quantized, or `parent` is not its float parent.
        DeviceError: The input shapes of a file are not known.
    """
    before, after = onnx_files.load(parent), onnx_files.load(quantized)
    _check(before, after, parent, quantized)
    times = measure({"float": parent, "quantized": quantized}, feeds, threads=threads, seconds=seconds)
    coverage = compute_coverage(times["float"], times["quantized"], FallbackReasons(after, known))
    return coverage, tuple(layer_times.total(name) for name, layer_times in times.items())


@dataclass(frozen=True)
class ReportSection:
    """The comparison for the record of a stage; the fields are those of `StageRecord`."""

    results: Metrics = field(default_factory=dict)
    tables: dict[str, Rows] = field(default_factory=dict)
    notes: tuple[Fact, ...] = ()
    skipped: tuple[Fact, ...] = ()


def report_layers(
    parent: Path, quantized: Path, skipped: Iterable[Fact], inputs: Feeds, *, threads: int, seconds: float
) -> ReportSection:
    """The comparison for the record of a stage, or the reason why there is none.

    Args:
        parent: Float ONNX file.
        quantized: File quantized from it for ONNX Runtime.
        skipped: Facts of the stage, with those on nodes that stay in float.
        inputs: One batch by name of the input.
        threads: Threads within an operator.
        seconds: Approximate time per file.
    """
    feeds = dict.fromkeys(("float", "quantized"), inputs)
    try:
        coverage, totals = compare_layers(
            parent, quantized, feeds=feeds, known=known_reasons(skipped), threads=threads, seconds=seconds
        )
    except CompressError as error:
        return ReportSection(skipped=(Fact.of("quantize.layers_not_measured", error=message_of(error)),))
    tables = {LAYERS: coverage.layers, CONVERSIONS: coverage.conversions}
    return ReportSection(coverage.results, tables, (coverage.note, *totals))


def is_quantized(model: onnx.ModelProto) -> bool:
    """Whether a model has integer operators, Q/DQ pairs, or matrices of integers or in half precision as weights."""
    operators = {node.op_type for node in model.graph.node}
    stored = {tensor.data_type for tensor in model.graph.initializer if len(tensor.dims) > 1}
    return bool(INTEGER_OPERATORS & operators) or bool(stored & (HALF_PRECISION | SMALL_INTEGERS))


def known_reasons(skipped: Iterable[Fact]) -> dict[str, Fact]:
    """Facts of `float_layers` on the file for ONNX Runtime, by name of the node."""
    return {
        fact.subject: fact for fact in skipped if fact.code in FLOAT_REASONS and fact.values.get("runtime") == "onnxruntime"
    }


def _check(before: onnx.ModelProto, after: onnx.ModelProto, parent: Path, quantized: Path) -> None:
    if not is_quantized(after):
        reason = gettext("it has no Q/DQ pairs, integer operators or half-precision weights")
        msg = gettext(
            "{quantized} is not quantized: {reason}; give a file that a quantize stage wrote",
            quantized=quantized,
            reason=reason,
        )
        raise ConversionError(msg)
    if is_quantized(before):
        msg = gettext(
            "{parent} is quantized itself; give the float file that {name} was quantized from",
            parent=parent,
            name=quantized.name,
        )
        raise ConversionError(msg)
    names = [{original_node_name(node.name) for node in model.graph.node if node.name} for model in (before, after)]
    if not names[0] & names[1]:
        msg = gettext(
            "{parent} is not the float parent of {quantized}: they have no node name in common; give the float file that "
            "{name} was quantized from",
            parent=parent,
            quantized=quantized,
            name=quantized.name,
        )
        raise ConversionError(msg)
