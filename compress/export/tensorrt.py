"""TensorRT: the command file that ships beside an ONNX file, and an engine builder over the public Python API.

Networks are strongly typed: precision comes from the ONNX file (float32, or int8 where Q/DQ pairs stand), never from builder
flags or a calibrator. TensorRT 10.x must be told so; 11.x knows no other way and ignores the flag. An engine runs only on the
kind of GPU and the version of TensorRT that it was built with, so it is built on the device. Nothing here was run by the tests:
they check the names that are used against the published API.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from compress import graphs
from compress.errors import ConversionError, MissingPackageError
from compress.export.scripts import engine_script
from compress.files import write_text, write_with, written_aside
from compress.record import InputSpec

MIB = 2**20


@dataclass(frozen=True)
class Shapes:
    """Batch sizes that an engine takes; kernels are picked for `best`."""

    least: int = 1
    best: int = 1
    most: int = 8


def build_engine(
    onnx_path: Path,
    engine_path: Path,
    samples: Mapping[str, Sequence[int]],
    *,
    shapes: Shapes = Shapes(),
    workspace_mib: int = 1024,
    timing_cache: Path | None = None,
    sparse: bool = False,
    dla: int | None = None,
) -> None:
    """Build and write an engine, whole or not at all. Needs a GPU; takes minutes.

    Args:
        onnx_path: Float or Q/DQ network with a dynamic batch.
        engine_path: Where the engine appears.
        samples: Shape of one sample, without the batch, by name of the input.
        shapes: Batch sizes.
        workspace_mib: Scratch memory that kernels may use, MiB.
        timing_cache: File of kernel timings, read if it is there, written back; makes the next build fast and alike.
        sparse: Allow kernels for 2:4 sparse weights.
        dla: Number of a DLA core to run on; what it cannot do falls back to the GPU. TensorRT 10.x on Jetson only.

    Raises:
        MissingPackageError: TensorRT is not installed.
        ConversionError: The parser or the builder refuses the network; the first error is told.
    """
    try:
        import tensorrt as trt
    except ImportError as error:
        raise MissingPackageError("tensorrt", "tensorrt", "building a TensorRT engine") from error
    builder = trt.Builder(trt.Logger(trt.Logger.WARNING))
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, builder.logger)
    if not parser.parse_from_file(str(onnx_path)):
        msg = f"TensorRT {trt.__version__} does not take {onnx_path}: {parser.get_error(0)} ({parser.num_errors} errors)"
        raise ConversionError(msg)
    config = _config(trt, builder, samples, shapes, sparse=sparse, dla=dla)
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace_mib * MIB)
    if timing_cache is not None:
        known = timing_cache.read_bytes() if timing_cache.exists() else b""
        config.set_timing_cache(config.create_timing_cache(known), ignore_mismatch=False)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        msg = f"TensorRT {trt.__version__} could not build an engine from {onnx_path}; its log above says why"
        raise ConversionError(msg)
    write_with(engine_path, lambda aside: aside.write_bytes(engine))
    if timing_cache is not None:
        write_with(timing_cache, lambda aside: aside.write_bytes(config.get_timing_cache().serialize()))


def _config(
    trt: Any, builder: Any, samples: Mapping[str, Sequence[int]], shapes: Shapes, *, sparse: bool, dla: int | None
) -> Any:
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if sparse:
        config.set_flag(trt.BuilderFlag.SPARSE_WEIGHTS)
    if dla is not None:
        config.default_device_type, config.DLA_core = trt.DeviceType.DLA, dla
        config.set_flag(trt.BuilderFlag.GPU_FALLBACK)
    profile = builder.create_optimization_profile()
    for name, sample in samples.items():
        profile.set_shape(name, *((batch, *sample) for batch in (shapes.least, shapes.best, shapes.most)))
    config.add_optimization_profile(profile)
    return config


def trtexec_command(
    onnx_path: str,
    engine_path: str,
    spec: InputSpec,
    *,
    shapes: Shapes = Shapes(),
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
    shapes = Shapes(best=batch, most=max(8, batch))
    command = trtexec_command("model.onnx", "model.engine", spec, shapes=shapes, batch=batch)
    return SCRIPT.format(command=" \\\n  ".join(shlex.quote(part) for part in command))


def write(source: Path, folder: Path, spec: InputSpec, *, crop: bool, runtime: str = "tensorrt") -> None:  # noqa: ARG001
    """What TensorRT needs on a device: the ONNX file, the script that builds its engine, and one that runs it on an image."""
    write_with(folder / "model.onnx", lambda aside: shutil.copyfile(source, aside))
    with written_aside(folder / "build_engine.sh") as aside:
        aside.write_text(build_script(spec), encoding="utf-8")
        aside.chmod(0o755)
    write_text(folder / "infer.py", engine_script(spec, crop=crop))


def unfit(path: Path) -> str | None:
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
