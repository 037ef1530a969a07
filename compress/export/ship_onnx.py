"""ONNX as an export format: what ONNX Runtime and OpenVINO need on a device."""

from __future__ import annotations

import shutil
from pathlib import Path

from compress.core.atomic_files import write_text, write_with
from compress.core.network_spec import NetworkSpec
from compress.export.infer_script import infer_script
from compress.tasks.infer_code import CLASSIFY, InferCode


def write(
    source: Path,
    folder: Path,
    spec: NetworkSpec,
    *,
    runtime: str = "onnxruntime",
    release: str | None = None,  # noqa: ARG001
    code: InferCode = CLASSIFY,
) -> None:
    """Copy the ONNX file into a device's folder, and write a script that runs it on a sample.

    Args:
        source: The ONNX file.
        folder: The device's folder.
        spec: Input of the network.
        runtime: As in a device profile.
        release: Of the runtime; the script does not depend on it.
        code: What the script does with the outputs.
    """
    write_with(folder / "model.onnx", lambda aside: shutil.copyfile(source, aside))
    write_text(folder / "infer.py", infer_script(spec, runtime=runtime, code=code))
