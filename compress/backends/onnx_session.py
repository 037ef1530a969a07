"""ONNX Runtime sessions on the CPU, for correct outputs rather than speed; `onnxruntime_runner` is the one that is timed."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime

from compress.backends import onnx_files
from compress.backends.onnx_graph import to_proto
from compress.core.errors import ConversionError


def create_session(
    source: Path | onnx.ModelProto | ir.Model, *, optimised: bool = True, threads: int = 1
) -> onnxruntime.InferenceSession:
    """An ONNX Runtime session on the CPU.

    Args:
        source: A file, or a network in memory.
        optimised: Fuse operators, as a user gets it; False runs each operator as the file has it.
        threads: Threads inside an operator.

    Raises:
        ConversionError: The runtime rejects the graph.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4  # errors come back as exceptions with the same text
    levels = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimised else levels.ORT_DISABLE_ALL
    try:
        if not isinstance(source, Path) and onnx_files.exceeds_one_file(source):
            with tempfile.TemporaryDirectory() as folder:
                onnx_files.save(source, Path(folder, "model.onnx"))
                return onnxruntime.InferenceSession(Path(folder, "model.onnx"), options, providers=["CPUExecutionProvider"])
        proto = to_proto(source) if isinstance(source, ir.Model) else source
        content = str(proto) if isinstance(proto, Path) else proto.SerializeToString()
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's exceptions have no common base but Exception
        if not type(error).__module__.startswith("onnxruntime"):
            raise
        msg = f"ONNX Runtime {onnxruntime.__version__} does not take the graph: {error}"
        raise ConversionError(msg) from error


def feeds_of(runner: onnxruntime.InferenceSession, inputs: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Inputs by the names that the session has for them.

    Args:
        runner: The session.
        inputs: In the order of its inputs.

    Raises:
        ConversionError: It has another number of inputs.
    """
    names = [entry.name for entry in runner.get_inputs()]
    if len(names) != len(inputs):
        msg = f"the file has {len(names)} inputs ({', '.join(names)}), the network {len(inputs)}"
        raise ConversionError(msg)
    return dict(zip(names, inputs, strict=True))


def run(runner: onnxruntime.InferenceSession, inputs: np.ndarray) -> np.ndarray:
    """First output for a batch of inputs."""
    outputs: np.ndarray = runner.run(None, {runner.get_inputs()[0].name: inputs})[0]
    return outputs
