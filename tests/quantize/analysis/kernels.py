from __future__ import annotations

from pathlib import Path

import numpy as np

from compress.backends import onnx_files
from compress.backends import onnx_graph as graphs
from compress.profile.layers.kernel_to_node import NodeOrigin
from compress.profile.layers.layer_times import LayerTimes, TimedKernel
from compress.quantize.calibration.observe import observe
from compress.quantize.qdq import quantize_graph as int8
from compress.quantize.qdq.placement import activations_to_calibrate
from tests.export.tiny import SPEC, split

SETTINGS = {"runtime": "a runtime", "threads": "1"}


def made(source: Path, folder: Path, *, exclude: tuple[str, ...] = ()) -> Path:
    model = onnx_files.load(source)
    histograms = observe(
        graphs.to_ir(model),
        activations_to_calibrate(graphs.to_ir(model), ("onnxruntime",)),
        [{"input": split(16, 0).inputs.numpy()}],
        counts=False,
    )
    ranges = {name: (variant.low, variant.high) for name, variant in histograms.items()}
    result = int8.quantize_static(graphs.to_ir(model), ranges, "onnxruntime", int8.QDQOptions(exclude=exclude))
    onnx_files.write_metadata(result, SPEC)
    onnx_files.save(result, folder / "int8.onnx")
    return folder / "int8.onnx"


def kernel(operator: str, number: str, reads: str, gives: str, node: str = "", ms: float = 1.0, index: int = 0) -> TimedKernel:
    nodes = (NodeOrigin(node, operator, node),) if node else ()
    numbers = (index,) if node else ()
    return TimedKernel(operator, number, nodes, np.full(8, ms), numbers, tuple(reads.split()), tuple(gives.split()))


def layers_of(*kernels: TimedKernel) -> LayerTimes:
    return LayerTimes(kernels, np.ones(8), np.ones(8), SETTINGS)
