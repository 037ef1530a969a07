"""Export format ONNX: files for ONNX Runtime and OpenVINO on a device."""

from __future__ import annotations

from pathlib import Path

from compress.backends import onnx_files
from compress.core.atomic_files import write_text
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
    """Copy the ONNX file to the folder of a device, and write a script that runs it on a sample.

    Args:
        source: ONNX file.
        folder: Folder of the device.
        spec: Inputs of the network.
        runtime: Runtime of the device profile.
        release: Not used; an argument of every format.
        code: Code of the task for the outputs.
    """
    onnx_files.copy(source, folder / "model.onnx")
    write_text(folder / "infer.py", infer_script(spec, runtime=runtime, code=code))
