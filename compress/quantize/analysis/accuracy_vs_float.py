"""Compares the quantized file with its float parent on the validation split, for the record."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from compress.backends import onnx_files
from compress.backends import onnx_graph as graphs
from compress.backends.run_split import collect_outputs
from compress.core.record import Metrics, Quantity
from compress.core.statistics import paired_difference
from compress.data.batch import Split
from compress.quantize.analysis.sqnr import decibels, layer_sqnr
from compress.tasks.base import Task

SQNR_SAMPLES = 16
"""Samples for the SQNR of layers."""


def per_sample_scores(task: Task, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The task's score of each sample, (N,), float64."""
    import torch

    scores: np.ndarray = task.correct(torch.from_numpy(outputs), torch.from_numpy(targets)).numpy().astype(np.float64)
    return scores


def compare_with_float(
    parent: Path, quantized: Path, split: Split, task: Task, scheme: str, *, layers: ir.Model, batch_size: int = 64
) -> tuple[Metrics, tuple[dict[str, Any], ...]]:
    """Measure agreement, the metric of both files with its paired drop, size, and SQNR of the outputs and of each layer.

    Args:
        parent: Float file.
        quantized: Quantized file for ONNX Runtime.
        split: Samples.
        task: Gives scores.
        scheme: Part of the name of the quantized metric.
        layers: Float network whose layer outputs those of the quantized one are compared with; its channels may be rescaled.
        batch_size: Samples in one run of the quantized file.

    Returns:
        Quantities, and one row per layer with weights: `layer`, `sqnr_db`.
    """
    float_outputs, targets = collect_outputs(parent, split)
    quantized_outputs, _ = collect_outputs(quantized, split, batch_size=batch_size)
    runs, where = len(targets), "ONNX Runtime, validation split" + (", one sample at a time" if batch_size == 1 else "")
    before = per_sample_scores(task, float_outputs, targets)
    after = per_sample_scores(task, quantized_outputs, targets)
    drop, low, high = paired_difference(before, after)
    agreement = float((float_outputs.argmax(1) == quantized_outputs.argmax(1)).mean())
    size_ratio = quantized.stat().st_size / parent.stat().st_size
    results = {
        "agreement": Quantity.measured(agreement, "fraction", where, runs=runs),
        f"{task.metric}_validation_float": Quantity.measured(float(before.mean()), "fraction", where, runs=runs),
        f"{task.metric}_validation_{scheme}": Quantity.measured(float(after.mean()), "fraction", where, runs=runs),
        "drop_validation": Quantity.measured(
            drop, "fraction", f"{where}, same samples, paired 95 % interval", interval=(low, high), runs=runs
        ),
        "size_ratio": Quantity.measured(size_ratio, "1", f"{scheme} file over float file"),
    }
    sqnr_db = decibels(float_outputs, quantized_outputs)
    if math.isfinite(sqnr_db):
        results["sqnr_db"] = Quantity.measured(sqnr_db, "dB", f"of the logits; {where}", runs=runs)
    inputs = next(iter(split.ordered(SQNR_SAMPLES))).input.numpy()
    sqnr_by_layer = layer_sqnr(layers, graphs.to_ir(onnx_files.load(quantized)), inputs)
    by_layer = {name: value for name, value in sqnr_by_layer.items() if math.isfinite(value)}
    if by_layer:
        worst = min(by_layer, key=lambda name: by_layer[name])
        detail = f"of layer {worst}; operators as written, {len(inputs)} validation samples"
        results["sqnr_worst_layer_db"] = Quantity.measured(by_layer[worst], "dB", detail, runs=len(inputs))
    return results, tuple({"layer": name, "sqnr_db": round(value, 3)} for name, value in by_layer.items())
