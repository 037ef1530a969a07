"""Export formats of runtimes that do not read ONNX: the converted file, its sidecar, and a script that runs it."""

from __future__ import annotations

from pathlib import Path

from compress.backends import onnx_files
from compress.backends.converted.convert import convert_file, target_name
from compress.core.atomic_files import write_text
from compress.core.network_spec import NetworkSpec
from compress.export.converted_script import converted_script
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
    """Convert the ONNX file into the folder of a device, and write a script that runs it on a sample.

    The ONNX file is kept beside it, as the reference of later comparisons.

    Args:
        source: ONNX file, float or with Q/DQ pairs.
        folder: Folder of the device.
        spec: Inputs of the network.
        runtime: Runtime of the device profile.
        release: Not used; an argument of every format.
        code: Code of the task for the outputs.

    Raises:
        MissingPackageError: The converter is not installed.
        ConversionError: It failed.
    """
    onnx_files.copy(source, folder / "model.onnx")
    convert_file(runtime, source, folder / target_name(runtime))
    write_text(folder / "infer.py", converted_script(spec, runtime, code))
