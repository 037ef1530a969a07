"""The quantized file beside its float parent, on validation, for the record."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from compress.backends import onnx_graph as graphs
from compress.backends.run_split import collect_outputs
from compress.core.record import Metrics, Quantity
from compress.core.statistics import paired_difference
from compress.data.interface import Split
from compress.quantize.analysis.sqnr import decibels, layer_sqnr
from compress.tasks.base import Task

SQNR_SAMPLES = 16
"""Samples that the layers' SQNR is taken over."""


def per_sample_scores(task: Task, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The task's score of each sample, (N,), float64."""
    import torch

    found: np.ndarray = task.correct(torch.from_numpy(outputs), torch.from_numpy(targets)).numpy().astype(np.float64)
    return found


def compare_with_float(
    source: Path, made: Path, split: Split, task: Task, kind: str, *, layers: onnx.ModelProto | None = None
) -> tuple[Metrics, tuple[dict[str, Any], ...]]:
    """Agreement, accuracy of both with the paired drop, size, SQNR of the answers and of each layer.

    Args:
        source: Float file.
        made: Quantized file that ONNX Runtime runs.
        split: Samples.
        task: Gives scores.
        kind: Names the quantized accuracy.
        layers: What each layer is to give, where channels were rescaled; the float file's own where None.

    Returns:
        Quantities, and one row a layer with weights: `layer`, `sqnr_db`.
    """
    floats, targets = collect_outputs(source, split)
    ints, _ = collect_outputs(made, split)
    runs, where = len(targets), "ONNX Runtime, validation split"
    before, after = per_sample_scores(task, floats, targets), per_sample_scores(task, ints, targets)
    lost, low, high = paired_difference(before, after)
    results = {
        "agreement": Quantity.measured(float((floats.argmax(1) == ints.argmax(1)).mean()), "fraction", where, runs=runs),
        "accuracy_validation_float": Quantity.measured(float(before.mean()), "fraction", where, runs=runs),
        f"accuracy_validation_{kind}": Quantity.measured(float(after.mean()), "fraction", where, runs=runs),
        "drop_validation": Quantity.measured(
            lost, "fraction", f"{where}, same samples, paired 95 % interval", interval=(low, high), runs=runs
        ),
        "size_ratio": Quantity.measured(made.stat().st_size / source.stat().st_size, "1", f"{kind} file over float file"),
    }
    signal_left = decibels(floats, ints)
    if math.isfinite(signal_left):
        results["sqnr_db"] = Quantity.measured(signal_left, "dB", f"of the logits; {where}", runs=runs)
    inputs = next(iter(split.ordered(SQNR_SAMPLES))).inputs.numpy()
    by_layer = {
        name: value
        for name, value in layer_sqnr(graphs.load(source) if layers is None else layers, graphs.load(made), inputs).items()
        if math.isfinite(value)
    }
    if by_layer:
        worst = min(by_layer, key=lambda name: by_layer[name])
        detail = f"of layer {worst}; operators as written, {len(inputs)} validation samples"
        results["sqnr_worst_layer_db"] = Quantity.measured(by_layer[worst], "dB", detail, runs=len(inputs))
    return results, tuple({"layer": name, "sqnr_db": round(value, 3)} for name, value in by_layer.items())
