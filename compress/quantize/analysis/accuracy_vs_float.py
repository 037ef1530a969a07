"""Compare a quantized file with its float parent on the validation split."""

from __future__ import annotations

import math
from pathlib import Path

import onnx_ir as ir

from compress.backends import onnx_files
from compress.backends import onnx_graph as graphs
from compress.backends.compare_on_split import compare_on_split
from compress.backends.feeds import batch_samples
from compress.core.entries import Row
from compress.core.language import gettext
from compress.core.record import Metrics, Quantity
from compress.data.batch import Split
from compress.quantize.analysis.sqnr import energy_ratio_db, layer_sqnr
from compress.tasks.base import Task
from compress.tasks.metric_quantity import loss_of

SQNR_SAMPLES = 16
"""Number of samples for the SQNR of layers."""


def compare_with_float(
    parent: Path, quantized: Path, split: Split, task: Task, scheme: str, *, layers: ir.Model, batch_size: int = 64
) -> tuple[Metrics, tuple[Row, ...]]:
    """Measure agreement, metric and its paired drop, size ratio, and SQNR of the outputs and of each layer.

    Args:
        parent: Float file.
        quantized: Quantized file for ONNX Runtime.
        split: Samples.
        task: Task with the metric.
        scheme: Quantization scheme, for the name of the quantized metric.
        layers: Float network for the SQNR of layers; its channels may be rescaled.
        batch_size: Batch size of the quantized file.

    Returns:
        Quantities by name, and one row per layer with weights: `layer`, `sqnr_db`.
    """
    comparison = compare_on_split(parent, quantized, split, task, other_batch_size=batch_size)
    metric, before, after = task.deciding, comparison.reference, comparison.other
    runs, where = (
        len(before),
        gettext("ONNX Runtime, validation split") + (gettext(", one sample at a time") if batch_size == 1 else ""),
    )
    size_ratio = quantized.stat().st_size / parent.stat().st_size
    top1 = comparison.agreement.top1
    agreement = {} if top1 is None else {"agreement": Quantity.measured(top1, "fraction", where, runs=runs)}
    results = {
        **agreement,
        f"{task.metric}_validation_float": Quantity.measured(metric.value(before), metric.info.unit, where, runs=runs),
        f"{task.metric}_validation_{scheme}": Quantity.measured(metric.value(after), metric.info.unit, where, runs=runs),
        "drop_validation": loss_of(metric, before, after, gettext("the float file in ONNX Runtime"), "validation"),
        "size_ratio": Quantity.measured(size_ratio, "1", gettext("{scheme} file over float file", scheme=scheme)),
    }
    sqnr_db = energy_ratio_db(comparison.signal, comparison.noise)
    if math.isfinite(sqnr_db):
        results["sqnr_db"] = Quantity.measured(sqnr_db, "dB", gettext("of the outputs; {where}", where=where), runs=runs)
    samples = batch_samples(next(iter(split.ordered(SQNR_SAMPLES))))
    sqnr_by_layer = layer_sqnr(layers, graphs.to_ir(onnx_files.load(quantized)), samples)
    by_layer = {name: value for name, value in sqnr_by_layer.items() if math.isfinite(value)}
    if by_layer:
        worst = min(by_layer, key=lambda name: by_layer[name])
        detail = gettext("of layer {worst}; operators as written, {count} validation samples", worst=worst, count=len(samples))
        results["sqnr_worst_layer_db"] = Quantity.measured(by_layer[worst], "dB", detail, runs=len(samples))
    return results, tuple({"layer": name, "sqnr_db": round(value, 3)} for name, value in by_layer.items())
