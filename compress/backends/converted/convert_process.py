"""Run one converter; `convert` starts this module in a new process: TARGET_OF_ROW SOURCE TARGET FOLDER."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime

from compress.backends.converted.convert import FAILURE, INPUTS
from compress.backends.converted.sidecar import ENDING as SIDECAR
from compress.backends.converted.sidecar import Sidecar, TensorLayout, write_sidecar
from compress.core.errors import CompressError


def main(arguments: list[str]) -> int:
    """Convert, then write the sidecar; returns the exit status."""
    row, source, target, folder = arguments[0], Path(arguments[1]), Path(arguments[2]), Path(arguments[3])
    with np.load(folder / INPUTS, allow_pickle=False) as file:
        inputs = {name: file[name] for name in file.files}
    try:
        module, _, function = row.partition(":")
        carried = getattr(importlib.import_module(module), function)(source, target, inputs)
        stem = f"{target.name.partition('.')[0]}."
        beside = {path.name for path in target.parent.iterdir() if path.name.startswith(stem) and path.suffix != SIDECAR}
        layouts = _output_layouts(source, inputs)
        sidecar = Sidecar(
            inputs={name: TensorLayout(shape=array.shape, dtype=array.dtype.name) for name, array in inputs.items()},
            outputs=layouts,
            carried=carried,
            files=(target.name, *sorted(beside - {target.name})),
        )
        write_sidecar(target, sidecar)
    except Exception as error:  # converters raise errors of any type; all are reported
        kind = (
            "missing" if isinstance(error, ModuleNotFoundError) and not (error.name or "").startswith("compress") else "failed"
        )
        own = isinstance(error, CompressError)
        failure = {
            "kind": kind,
            "text": (str(error) if own else f"{type(error).__name__}: {error}").strip(),
            "operators": getattr(error, "operators", ()) if own else (),
        }
        (folder / FAILURE).write_text(json.dumps(failure), encoding="utf-8")
        return 1
    return 0


def _output_layouts(source: Path, inputs: Mapping[str, np.ndarray]) -> dict[str, TensorLayout]:
    """Shapes and types of the outputs of the ONNX file."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    arrays = session.run(names, dict(inputs))
    return {name: TensorLayout(shape=array.shape, dtype=array.dtype.name) for name, array in zip(names, arrays, strict=True)}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
