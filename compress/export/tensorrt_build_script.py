"""TensorRT: the command file that ships beside an ONNX file and builds the engine on the device."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path

import onnx

from compress.backends import onnx_files
from compress.backends.tensorrt_engine import BATCHES, free_shapes
from compress.core.atomic_files import atomic_write, write_text, write_with
from compress.core.errors import ConversionError
from compress.core.network_spec import NetworkSpec
from compress.core.signature import AxisSizes
from compress.export.infer_script import engine_script
from compress.tasks.infer_code import CLASSIFY, InferCode

SINCE = {"--stronglyTyped": (9, 0), "--builderOptimizationLevel": (8, 6), "--infStreams": (8, 6)}
"""Release of TensorRT that brought an argument of `trtexec`, where that is later than 8.5: samples/common/sampleOptions.cpp."""
OLDEST = (8, 5)
"""Oldest release that the arguments are known for."""
MAX_OPSET = {(8, 5): 17, (8, 6): 17}
"""Latest ONNX operator set that the parser of a release documents: onnx-tensorrt, docs/operators.md."""


def trtexec_command(
    onnx_path: str,
    engine_path: str,
    spec: NetworkSpec,
    *,
    batch: AxisSizes = BATCHES,
    release: str | None = None,
    int8: bool = False,
) -> list[str]:
    """Arguments of `trtexec` that build an engine and measure it, nothing left to its defaults.

    Args:
        onnx_path: As `trtexec` is to see it.
        engine_path: Likewise.
        spec: Inputs of the network, with sizes of their free axes.
        batch: Batch sizes that the engine takes; the typical one is measured.
        release: Of TensorRT; None for 10 or later.
        int8: The file has QuantizeLinear; before strongly typed networks, int8 has to be allowed.
    """
    known = release_of(release)
    shapes = free_shapes(spec.signature, batch)
    least, typical, most = (_shapes({name: sizes[index] for name, sizes in shapes.items()}) for index in range(3))
    named = {"minShapes": least, "optShapes": typical, "maxShapes": most, "shapes": typical}
    command = [
        "trtexec",
        f"--onnx={onnx_path}",
        f"--saveEngine={engine_path}",
        *(f"--{name}={text}" for name, text in named.items() if text),
        "--stronglyTyped",
        "--memPoolSize=workspace:1024M",
        "--builderOptimizationLevel=3",
        "--timingCacheFile=timing.cache",
        "--profilingVerbosity=detailed",
        "--sparsity=disable",
        "--useCudaGraph",
        "--useSpinWait",
        "--noDataTransfers",
        "--infStreams=1" if known >= SINCE["--infStreams"] else "--streams=1",
        "--iterations=100",
        "--warmUp=500",
        "--duration=10",
        "--avgRuns=1",
        "--percentile=50,90,99",
        "--separateProfileRun",
        "--exportTimes=times.json",
        "--exportProfile=layers.json",
        "--exportLayerInfo=engine.json",
    ]
    if known < SINCE["--stronglyTyped"] and int8:
        command.append("--int8")
    return [part for part in command if SINCE.get(part.partition("=")[0], OLDEST) <= known]


def _shapes(shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Shapes as `trtexec` reads them: `ids:1x128,mask:1x128`; a name with a colon stands in quotes."""
    return ",".join(f"{_quoted(name)}:{'x'.join(map(str, shape))}" for name, shape in shapes.items())


def _quoted(name: str) -> str:
    return f"'{name}'" if ":" in name else name


def release_of(release: str | None) -> tuple[int, int]:
    """Major and minor number of a TensorRT release; 10.0 for None.

    Raises:
        ConversionError: Older than 8.5, whose `trtexec` has other arguments.
    """
    if release is None:
        return 10, 0
    major, _, minor = release.partition(".")
    known = int(major), int(minor.partition(".")[0] or 0)
    if known < OLDEST:
        msg = f"no script can be written for TensorRT {release}: the arguments of its trtexec are known from 8.5 on"
        raise ConversionError(msg)
    return known


SCRIPT = """#!/bin/sh
# Builds model.engine from model.onnx on this device and measures it. Written by compress; it has not been run.
# Needs trtexec of TensorRT on PATH. {about}
# --noDataTransfers leaves copies between host and GPU out of the latency; take it away to include them.
set -eu
cd "$(dirname "$0")"
exec {command} "$@"
"""
STRONGLY_TYPED = "--stronglyTyped is required by TensorRT 10.x; 11.x is always strongly typed and ignores it."


def build_script(spec: NetworkSpec, *, release: str | None = None, opset: int = 0, int8: bool = False) -> str:
    """Shell script around `trtexec_command`, for `model.onnx` in the same folder.

    Args:
        spec: Input of the network.
        release: Of TensorRT on the device; None for 10 or later.
        opset: ONNX operator set of the file.
        int8: The file has QuantizeLinear.
    """
    known = release_of(release)
    about = STRONGLY_TYPED if known >= SINCE["--stronglyTyped"] else f"The arguments are those of TensorRT {release}."
    if opset > (limit := MAX_OPSET.get(known, opset)):
        about += f"\n# The parser of this release documents ONNX operator sets up to {limit}; model.onnx has {opset}."
    command = trtexec_command("model.onnx", "model.engine", spec, release=release, int8=int8)
    return SCRIPT.format(about=about, command=" \\\n  ".join(shlex.quote(part) for part in command))


def write(
    source: Path,
    folder: Path,
    spec: NetworkSpec,
    *,
    runtime: str = "tensorrt",  # noqa: ARG001
    release: str | None = None,
    code: InferCode = CLASSIFY,
) -> None:
    """What TensorRT needs on a device: the ONNX file, the script that builds its engine, and one that runs it on an image."""
    model = onnx_files.load(source)
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
    int8 = any(node.op_type == "QuantizeLinear" for node in model.graph.node)
    write_with(folder / "model.onnx", lambda aside: shutil.copyfile(source, aside))
    with atomic_write(folder / "build_engine.sh") as aside:
        aside.write_text(build_script(spec, release=release, opset=opset, int8=int8), encoding="utf-8")
        aside.chmod(0o755)
    write_text(folder / "infer.py", engine_script(spec, code))


def unsupported_reason(path: Path) -> str | None:
    """Why TensorRT does not take a file; None when nothing speaks against it.

    It wants quantized activations to be int8 around zero: of zero points only zero is allowed.
    """
    graph = onnx_files.load(path).graph
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
