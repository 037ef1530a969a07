"""ORT format: the optimized graph of ONNX Runtime as a flatbuffer, for its mobile packages, which do not read ONNX."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime

from compress.backends.converted.sidecar import Carried
from compress.backends.fixed_shapes import is_quantized


def convert(source: Path, target: Path, inputs: Mapping[str, np.ndarray]) -> Carried:  # noqa: ARG001
    """Optimize and save a file.

    Only optimizations that are right on every processor are applied, since the file may run on another one.

    Args:
        source: ONNX file.
        target: File to write.
        inputs: Not used: the file keeps its shapes.
    """
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(target)
    options.log_severity_level = 4
    options.add_session_config_entry("session.save_model_format", "ORT")
    onnxruntime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
    return "all" if is_quantized(source) else "nothing"
