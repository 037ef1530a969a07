"""ONNX Runtime sessions on the CPU for outputs; see `onnxruntime_runner` for timing."""

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
from compress.core.language import gettext


def create_session(
    source: Path | onnx.ModelProto | ir.Model, *, optimised: bool = True, threads: int = 1
) -> onnxruntime.InferenceSession:
    """Create an ONNX Runtime session on the CPU.

    Args:
        source: A file, or a network in memory.
        optimised: With graph optimizations; False runs each operator as in the file.
        threads: Threads within an operator; 0 uses all processors.

    Raises:
        ConversionError: The runtime rejects the graph.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4  # errors are raised with the same text
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
        msg = gettext("ONNX Runtime {version} rejects the graph: {error}", version=onnxruntime.__version__, error=error)
        raise ConversionError(msg) from error


def feeds_of(session: onnxruntime.InferenceSession, inputs: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Inputs by the names of a session.

    Args:
        session: The session.
        inputs: Inputs in the order of the session.

    Raises:
        ConversionError: The session has another number of inputs.
    """
    names = [entry.name for entry in session.get_inputs()]
    if len(names) != len(inputs):
        msg = gettext(
            "the file has {count} inputs ({names}), but the network has {inputs_count}",
            count=len(names),
            names=", ".join(names),
            inputs_count=len(inputs),
        )
        raise ConversionError(msg)
    return dict(zip(names, inputs, strict=True))


def run(session: onnxruntime.InferenceSession, inputs: np.ndarray) -> np.ndarray:
    """First output of a session with one input."""
    outputs: np.ndarray = session.run(None, {session.get_inputs()[0].name: inputs})[0]
    return outputs
