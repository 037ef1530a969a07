"""`compress devices calibrate`: fit the cost model of a machine on int8 networks as `quantize` produces them."""

from __future__ import annotations

from itertools import cycle
from pathlib import Path

import onnx

from compress.backends import onnx_graph
from compress.config.devices import load_device
from compress.core.progress import Reporter
from compress.profile.cost_model import calibration_file as calibration
from compress.profile.cost_model.calibration_file import Calibration
from compress.profile.cost_model.fit import calibrate
from compress.quantize.qdq import quantize_graph as int8
from compress.quantize.target_requirements import needs_7bit_weights

SCALES = 0.7, 1.0, 1.3, 1.9
"""Scales of the ranges, in turn: operators that join tensors of equal scale only copy, but scales of real networks differ."""


def quantized(model: onnx.ModelProto) -> onnx.ModelProto:
    """An int8 network for ONNX Runtime with arbitrary ranges, for timing only."""
    inputs = [value.name for value in model.graph.input]
    names = [*inputs, *(name for node in model.graph.node for name in node.output)]
    ranges = {name: (-4.0 * scale, 5.0 * scale) for name, scale in zip(names, cycle(SCALES), strict=False)}
    options = int8.QDQOptions(reduce_range=needs_7bit_weights())
    return int8.quantize_static(onnx_graph.to_ir(model), ranges, "onnxruntime", options)


def calibrate_device(
    name: str,
    out: Path | None = None,
    *,
    threads: int | None = None,
    reporter: Reporter | None = None,
) -> tuple[Calibration, Path]:
    """Fit the cost model and save it.

    Args:
        name: Name of a profile of this machine.
        out: Output file; by default in the user's cache.
        threads: Threads of an operator; by default those of the profile.
        reporter: Shows the progress.

    Returns:
        The calibration and the path of its file.

    Raises:
        DeviceError: The profile is not of this machine, or does not use ONNX Runtime on a CPU.
        StoreError: The file cannot be written.
    """
    device = load_device(name)
    count = threads or device.threads
    result = calibrate(device, quantized, threads=count, reporter=reporter)
    path = out or calibration.default_path(device.name, count)
    calibration.save(result, path)
    return result, path
