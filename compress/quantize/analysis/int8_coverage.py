"""Which layers of a quantized file run in int8 in ONNX Runtime, why the other ones do not, and the time of conversions.

    float parent   FusedConv(conv, clip) ──┐ same nodes ┌── QLinearConv(conv, clip)       quantized file
                                           └── a layer ──┘

A layer is the smallest set of nodes that is a union of kernels in both files, because one file may fuse more than the other.
Conversions (QuantizeLinear, DequantizeLinear, Casts between float types) that are not fused belong to float regions, see
`float_regions`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.record import Metrics, Quantity
from compress.core.sentences import render
from compress.profile.layers.layer_times import CONVERTING as CONVERSION_MODULE
from compress.profile.layers.layer_times import OWN, LayerTimes, TimedKernel
from compress.profile.layers.ort_profile import interquartile_mean
from compress.profile.layers.tables import Rows, detail_of, duration, milliseconds, rows_as_json
from compress.quantize.analysis.float_fallback import WITH_WEIGHTS, FallbackReasons
from compress.quantize.analysis.float_regions import (
    CONVERTING,
    FloatRegion,
    FloatRegions,
    components,
    compute_type,
    is_float,
)
from compress.quantize.qdq.rewrite_hardswish import original_node_name

PRODUCTS = ("Conv", "Gemm", "MatMul")
"""Parts of the names of kernels for convolutions and matrix products."""


@dataclass(frozen=True)
class Int8Coverage:
    """Comparison of a quantized file with its float parent.

    Attributes:
        layers: One row per layer in order of execution: `module`, `nodes`, `operators`, `runs_in`, `before_ms`, `after_ms`,
            `conversions_ms`, `why`.
        conversions: One row per float region with conversions, the slowest first: `around`, `isolated`, `quantize`,
            `dequantize`, `conversions_ms`, `operators_ms`, `why`.
        results: Time of int8 kernels, float kernels and conversions, ms.
        note: Summary.
    """

    layers: Rows
    conversions: Rows
    results: Metrics
    note: Fact


def compute_coverage(before: LayerTimes, after: LayerTimes, reasons: FallbackReasons) -> Int8Coverage:
    """Compare the kernels of a quantized file with those of its float parent.

    Args:
        before: Kernels of the float parent.
        after: Kernels of the quantized file, measured in turns with the parent.
        reasons: Reasons for float nodes of the quantized file.
    """
    regions = FloatRegions(after.kernels)
    rows = [_layer_row(old, new, before, after, regions, reasons) for old, new in _layers(before.kernels, after.kernels)]
    conversions = [_conversion_row(region, after, reasons) for region in regions.regions if region.conversions]
    conversions.sort(key=lambda row: -milliseconds(row, "conversions_ms"))
    by_type: dict[str, list[TimedKernel]] = {"int8": [], "conversion": [], "float": []}
    for kernel in after.kernels:
        kind = compute_type(kernel)
        by_type[kind if kind in by_type else "float"].append(kernel)
    results = {
        "float_parent_ms": _sum(before.kernels, before),
        "quantized_ms": _sum(after.kernels, after),
        "quantized_in_int8_ms": _sum(by_type["int8"], after),
        "quantized_in_float_ms": _sum(by_type["float"], after),
        "quantized_in_conversions_ms": _sum(by_type["conversion"], after),
    }
    return Int8Coverage(rows_as_json(rows), rows_as_json(conversions), results, _note(results, after.kernels))


def _sum(kernels: Sequence[TimedKernel], layers: LayerTimes) -> Quantity:
    """Sum of the interquartile means of kernels: averaging each kernel by itself removes disturbances of single kernels."""
    total = sum(interquartile_mean(kernel.milliseconds) for kernel in kernels)
    return Quantity.measured(
        total,
        "ms",
        gettext("sum of {count} kernels; {detail_of}", count=len(kernels), detail_of=detail_of(layers)),
        runs=len(layers.profiled_ms),
    )


def _note(results: Metrics, kernels: Sequence[TimedKernel]) -> Fact:
    products = [compute_type(kernel) for kernel in kernels if any(name in kernel.operator for name in PRODUCTS)]
    return Fact.of(
        "quantize.int8_coverage",
        int8_products=products.count("int8"),
        products=len(products),
        float_parent_ms=results["float_parent_ms"].value,
        quantized_ms=results["quantized_ms"].value,
        int8_ms=results["quantized_in_int8_ms"].value,
        float_ms=results["quantized_in_float_ms"].value,
        conversions_ms=results["quantized_in_conversions_ms"].value,
    )


def _layer_row(
    old: list[TimedKernel],
    new: list[TimedKernel],
    before: LayerTimes,
    after: LayerTimes,
    regions: FloatRegions,
    reasons: FallbackReasons,
) -> dict[str, object]:
    missing = Quantity.missing("ms", gettext("no kernel of its own: fused or removed"))
    no_conversion = Quantity.measured(0.0, "ms", gettext("no conversion"))
    conversions = [conversion for kernel in new for conversion in regions.conversions_of.get(id(kernel), ())]
    kernels, shown = (*new, *old), new or old
    names_layer = next(
        (kernel for kernel in kernels if any(node.operator in WITH_WEIGHTS for node in kernel.nodes)), shown[0]
    )  # fmt: skip
    return {
        "module": _module(names_layer),
        "nodes": _listed(original_node_name(name) for kernel in kernels for name in kernel.names),
        "operators": _listed(kernel.operator for kernel in shown),
        "runs_in": _listed(compute_type(kernel) for kernel in new) or "—",
        "before_ms": duration(old, detail_of(before)) if old else missing,
        "after_ms": duration(new, detail_of(after)) if new else missing,
        "conversions_ms": duration(conversions, detail_of(after)) if conversions else no_conversion,
        "why": _why([kernel for kernel in new if is_float(kernel)], reasons),
    }


def _conversion_row(region: FloatRegion, after: LayerTimes, reasons: FallbackReasons) -> dict[str, object]:
    directions = Counter(
        "dequantize" if kernel.compute_type.startswith("int8") else "quantize" for kernel in region.conversions
    )
    no_operator = Quantity.measured(0.0, "ms", gettext("no operator"))
    return {
        "around": region.describe(),
        "isolated": region.isolated,
        "quantize": directions["quantize"],
        "dequantize": directions["dequantize"],
        "conversions_ms": duration(region.conversions, detail_of(after)),
        "operators_ms": duration(region.kernels, detail_of(after)) if region.kernels else no_operator,
        "why": _why(region.kernels, reasons) or region.position,
    }


def _listed(words: Iterable[str]) -> str:
    """Words in order without duplicates, as a list for the report."""
    return ", ".join(dict.fromkeys(words))


def _module(kernel: TimedKernel) -> str:
    """Torch module of a kernel; `OWN` for kernels that the runtime added between conversions."""
    is_runtimes_own = kernel.module == CONVERSION_MODULE and compute_type(kernel) != "conversion"
    return OWN if is_runtimes_own else kernel.module


def _why(kernels: Iterable[TimedKernel], reasons: FallbackReasons) -> str:
    """Reasons of float kernels without duplicates, as text."""
    sentences: dict[str, None] = {}
    for kernel in kernels:
        facts = [
            reasons.explain(index)
            for index, node in zip(kernel.node_indices, kernel.nodes, strict=True)
            if node.operator not in CONVERTING
        ]
        sentences |= dict.fromkeys(map(render, facts or [Fact.of("quantize.float_layout_change")]))
    return "; ".join(sentences)


def _layers(before: Sequence[TimedKernel], after: Sequence[TimedKernel]) -> list[tuple[list[TimedKernel], list[TimedKernel]]]:
    """Kernels of both files by layer, in the order of the second file, without conversions."""
    indices: dict[str, int] = {}
    edges: list[tuple[int, int]] = []
    index_of: dict[int, int] = {}
    for kernel in (*before, *(kernel for kernel in after if compute_type(kernel) != "conversion")):
        names = [original_node_name(name) for name in kernel.names] or [_module(kernel)]
        first, *others = [indices.setdefault(name, len(indices)) for name in names]
        edges += [(first, other) for other in others]
        index_of[id(kernel)] = first
    labels = components(edges, len(indices))
    layers: dict[int, tuple[list[TimedKernel], list[TimedKernel]]] = {}
    for side, kernels in ((1, after), (0, before)):
        for kernel in kernels:
            if id(kernel) in index_of:
                layers.setdefault(labels[index_of[id(kernel)]], ([], []))[side].append(kernel)
    return list(layers.values())
