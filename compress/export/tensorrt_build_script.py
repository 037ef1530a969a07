"""Export format TensorRT: an ONNX file, and a shell script that builds the engine on the device."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

import onnx

from compress.backends import onnx_files
from compress.backends.tensorrt_engine import BATCHES, free_shapes
from compress.core.atomic_files import atomic_write, write_text
from compress.core.errors import ConversionError
from compress.core.language import gettext
from compress.core.network_spec import NetworkSpec
from compress.core.signature import AxisSizes
from compress.export.infer_script import engine_script
from compress.profile.trtexec_results import WARMUP_MS
from compress.tasks.infer_code import CLASSIFY, InferCode

SINCE = {"--stronglyTyped": (9, 0), "--builderOptimizationLevel": (8, 6), "--infStreams": (8, 6)}
"""Release of TensorRT that introduced an argument of `trtexec`, if later than 8.5. Source: samples/common/sampleOptions.cpp."""
OLDEST = (8, 5)
"""Oldest supported release."""
MAX_OPSET = {(8, 5): 17, (8, 6): 17}
"""Latest ONNX opset that the parser of a release documents. Source: onnx-tensorrt, docs/operators.md."""


def trtexec_command(
    onnx_path: str,
    engine_path: str,
    spec: NetworkSpec,
    *,
    batch: AxisSizes = BATCHES,
    release: str | None = None,
    int8: bool = False,
) -> list[str]:
    """Command line of `trtexec` that builds an engine and measures it; all relevant options are explicit.

    Args:
        onnx_path: Path of the ONNX file for `trtexec`.
        engine_path: Path of the engine for `trtexec`.
        spec: Inputs of the network with sizes of their free axes.
        batch: Batch sizes of the engine; the typical one is measured.
        release: Release of TensorRT; None for 10 or later.
        int8: The file has QuantizeLinear; without strongly typed networks, int8 must be enabled.
    """
    version = release_of(release)
    shapes = free_shapes(spec.signature, batch)
    least, typical, most = (_shapes({name: sizes[index] for name, sizes in shapes.items()}) for index in range(3))
    options = {"minShapes": least, "optShapes": typical, "maxShapes": most, "shapes": typical}
    command = [
        "trtexec",
        f"--onnx={onnx_path}",
        f"--saveEngine={engine_path}",
        *(f"--{name}={text}" for name, text in options.items() if text),
        "--stronglyTyped",
        "--memPoolSize=workspace:1024M",
        "--builderOptimizationLevel=3",
        "--timingCacheFile=timing.cache",
        "--profilingVerbosity=detailed",
        "--sparsity=disable",
        "--useCudaGraph",
        "--useSpinWait",
        "--noDataTransfers",
        "--infStreams=1" if version >= SINCE["--infStreams"] else "--streams=1",
        "--iterations=100",
        f"--warmUp={WARMUP_MS}",
        "--duration=10",
        "--avgRuns=1",
        "--percentile=50,90,99",
        "--separateProfileRun",
        "--exportTimes=times.json",
        "--exportProfile=layers.json",
        "--exportLayerInfo=engine.json",
    ]
    if version < SINCE["--stronglyTyped"] and int8:
        command.append("--int8")
    return [part for part in command if SINCE.get(part.partition("=")[0], OLDEST) <= version]


def _shapes(shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Shapes in the form of `trtexec`: `ids:1x128,mask:1x128`; a name with a colon is quoted."""
    return ",".join(f"{_quote(name)}:{'x'.join(map(str, shape))}" for name, shape in shapes.items())


def _quote(name: str) -> str:
    return f"'{name}'" if ":" in name else name


def release_of(release: str | None) -> tuple[int, int]:
    """Major and minor number of a TensorRT release; 10.0 for None.

    Raises:
        ConversionError: The release is older than 8.5, whose `trtexec` has other arguments.
    """
    if release is None:
        return 10, 0
    major, _, minor = release.partition(".")
    version = int(major), int(minor.partition(".")[0] or 0)
    if version < OLDEST:
        msg = gettext("no script can be written for TensorRT {release}: supported are 8.5 and later", release=release)
        raise ConversionError(msg)
    return version


SCRIPT = """#!/bin/sh
# Builds model.engine from model.onnx on this device and measures it. Written by compress; it has not been run.
# Needs trtexec of TensorRT on PATH. {about}
# With --noDataTransfers the latency does not include copies between host and GPU; remove it to include them.
set -eu
cd "$(dirname "$0")"
exec {command} "$@"
"""
STRONGLY_TYPED = "--stronglyTyped is required by TensorRT 10.x; 11.x is always strongly typed and ignores it."


def build_script(spec: NetworkSpec, *, release: str | None = None, opset: int = 0, int8: bool = False) -> str:
    """Shell script with `trtexec_command` for `model.onnx` in the same folder.

    Args:
        spec: Inputs of the network.
        release: Release of TensorRT on the device; None for 10 or later.
        opset: ONNX opset of the file.
        int8: The file has QuantizeLinear.
    """
    version = release_of(release)
    about = STRONGLY_TYPED if version >= SINCE["--stronglyTyped"] else f"The arguments are those of TensorRT {release}."
    if opset > (limit := MAX_OPSET.get(version, opset)):
        about += f"\n# The parser of this release supports ONNX opsets up to {limit}; model.onnx has {opset}."
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
    """Write the files for TensorRT on a device: the ONNX file, `build_engine.sh` and `infer.py`."""
    model = onnx_files.load(source)
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
    int8 = any(node.op_type == "QuantizeLinear" for node in model.graph.node)
    onnx_files.copy(source, folder / "model.onnx")
    with atomic_write(folder / "build_engine.sh") as aside:
        aside.write_text(build_script(spec, release=release, opset=opset, int8=int8), encoding="utf-8")
        aside.chmod(0o755)
    write_text(folder / "infer.py", engine_script(spec, code))


def unsupported_reason(path: Path) -> str | None:
    """Why TensorRT does not support a file, or None. Quantized activations must be int8 with zero point 0."""
    graph = onnx_files.load(path).graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear") or len(node.input) < 3:
            continue
        zero = constants.get(node.input[2])
        if zero is None:
            return gettext("{operator} has a computed zero point", operator=node.op_type)
        if zero.data_type == onnx.TensorProto.UINT8 or onnx.numpy_helper.to_array(zero).any():
            return gettext(
                "it has uint8 activations or zero points, but TensorRT needs int8 with zero point 0; quantize for the device"
            )
    return None
