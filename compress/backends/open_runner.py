"""Open a file in the runtime that a device profile names; an ONNX file is converted first if the runtime needs that."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from compress.backends.converted.convert import converted, converter_of, target_name
from compress.backends.runner_protocol import FileRunner
from compress.core.registry import lookup

ONNX = ".onnx"


def open_runner(runtime: str, path: Path, *, threads: int = 1) -> FileRunner:
    """Create the runner of a file; `with` loads the file.

    Args:
        runtime: Name in a device profile, `name` or `name:provider`.
        path: ONNX file, or a file of the runtime.
        threads: Threads within an operator, if the runtime has this setting.

    Raises:
        CompressError: The runtime is unknown, or the file was not converted for it.
    """
    name, _, provider = runtime.partition(":")
    if path.suffix == ONNX and converter_of(name) is not None:
        path = converted(name, path)
    kind = lookup("runner", name).load()
    runner: FileRunner = kind(path, threads=threads, **({"provider": provider} if provider else {}))
    return runner


def shipped_name(runtime: str, path: Path) -> str:
    """Name of the file that a runtime loads for an ONNX file."""
    family = runtime.partition(":")[0]
    return target_name(family) if path.suffix == ONNX and converter_of(family) is not None else path.name


def file_for(runtime: str, files: Mapping[str, Path], otherwise: Path) -> Path:
    """The file for a runtime.

    Args:
        runtime: Name in a device profile.
        files: Files by name of the runtime without provider.
        otherwise: File for all other runtimes.
    """
    return files.get(runtime.partition(":")[0], otherwise)
