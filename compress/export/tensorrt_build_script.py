"""TensorRT: the command file that ships beside an ONNX file and builds the engine on the device."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import onnx

from compress.backends import onnx_graph as graphs
from compress.backends.tensorrt_engine import ShapeProfile
from compress.core.atomic_files import atomic_write, write_text, write_with
from compress.core.record import InputSpec
from compress.export.infer_script import engine_script


def trtexec_command(
    onnx_path: str,
    engine_path: str,
    spec: InputSpec,
    *,
    shapes: ShapeProfile = ShapeProfile(),  # noqa: B008 - frozen
    batch: int = 1,
    warmup_ms: int = 500,
    seconds: int = 10,
    workspace_mib: int = 1024,
    sparse: bool = False,
    dla: int | None = None,
) -> list[str]:
    """Arguments of `trtexec` that build an engine and measure it, nothing left to its defaults.

    Args:
        onnx_path: As `trtexec` is to see it.
        engine_path: Likewise.
        spec: Input of the network.
        shapes: Batch sizes that the engine takes.
        batch: Batch size to measure.
        warmup_ms: Before measuring.
        seconds: Shortest measurement.
        workspace_mib: Scratch memory of kernels, MiB.
        sparse: Allow kernels for 2:4 sparse weights.
        dla: Number of a DLA core; None for the GPU alone.
    """
    sample = "x".join(map(str, spec.shape))
    named = {"min": shapes.least, "opt": shapes.best, "max": shapes.most}
    return [
        "trtexec",
        f"--onnx={onnx_path}",
        f"--saveEngine={engine_path}",
        *(f"--{name}Shapes={graphs.INPUT}:{size}x{sample}" for name, size in named.items()),
        f"--shapes={graphs.INPUT}:{batch}x{sample}",
        "--stronglyTyped",
        f"--memPoolSize=workspace:{workspace_mib}M",
        "--builderOptimizationLevel=3",
        "--timingCacheFile=timing.cache",
        "--profilingVerbosity=detailed",
        f"--sparsity={'enable' if sparse else 'disable'}",
        *([] if dla is None else [f"--useDLACore={dla}", "--allowGPUFallback"]),
        "--useCudaGraph",
        "--useSpinWait",
        "--noDataTransfers",
        "--infStreams=1",
        "--iterations=100",
        f"--warmUp={warmup_ms}",
        f"--duration={seconds}",
        "--avgRuns=1",
        "--percentile=50,90,99",
        "--separateProfileRun",
        "--exportTimes=times.json",
        "--exportProfile=layers.json",
        "--exportLayerInfo=engine.json",
    ]


SCRIPT = """#!/bin/sh
# Builds model.engine from model.onnx on this device and measures it. Written by compress; it has not been run.
# Needs TensorRT's trtexec on PATH. --stronglyTyped is required by TensorRT 10.x; 11.x is always strongly typed and ignores it.
# --noDataTransfers leaves copies between host and GPU out of the latency; take it away to include them.
set -eu
cd "$(dirname "$0")"
exec {command} "$@"
"""


def build_script(spec: InputSpec, *, batch: int = 1) -> str:
    """Shell script around `trtexec_command`, for `model.onnx` in the same folder."""
    shapes = ShapeProfile(best=batch, most=max(8, batch))
    command = trtexec_command("model.onnx", "model.engine", spec, shapes=shapes, batch=batch)
    return SCRIPT.format(command=" \\\n  ".join(shlex.quote(part) for part in command))


def write(source: Path, folder: Path, spec: InputSpec, *, runtime: str = "tensorrt") -> None:  # noqa: ARG001
    """What TensorRT needs on a device: the ONNX file, the script that builds its engine, and one that runs it on an image."""
    write_with(folder / "model.onnx", lambda aside: shutil.copyfile(source, aside))
    with atomic_write(folder / "build_engine.sh") as aside:
        aside.write_text(build_script(spec), encoding="utf-8")
        aside.chmod(0o755)
    write_text(folder / "infer.py", engine_script(spec))


def unsupported_reason(path: Path) -> str | None:
    """Why TensorRT does not take a file; None when nothing speaks against it.

    It wants quantized activations to be int8 around zero: of zero points only zero is allowed.
    """
    graph = graphs.load(path).graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear") or len(node.input) < 3:
            continue
        zero = constants.get(node.input[2])
        if zero is None:
            return f"{node.op_type} has a computed zero point"
        if zero.data_type == onnx.TensorProto.UINT8 or onnx.numpy_helper.to_array(zero).any():
            return "it holds uint8 or shifted activations, TensorRT takes int8 around zero; name the device when quantizing"
    return None
