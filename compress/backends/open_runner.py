"""Open an ONNX file in the runtime that a device profile names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from compress.backends.runner_protocol import FileRunner
from compress.core.registry import lookup


def open_runner(runtime: str, path: Path, *, threads: int = 1) -> FileRunner:
    """Make the runner of an ONNX file; `with` loads it.

    Args:
        runtime: As in a device profile, `name` or `name:provider`.
        path: ONNX file.
        threads: Threads within an operator, where the runtime has such a setting.

    Raises:
        CompressError: No such runtime.
    """
    name, _, provider = runtime.partition(":")
    kind = lookup("runner", name).load()
    runner: FileRunner = kind(path, threads=threads, **({"provider": provider} if provider else {}))
    return runner


def file_for(runtime: str, files: Mapping[str, Path], otherwise: Path) -> Path:
    """The file that a runtime runs: the one made for it, else `otherwise`.

    Args:
        runtime: As in a device profile.
        files: Files by runtime name without provider.
        otherwise: File for every other runtime.
    """
    return files.get(runtime.partition(":")[0], otherwise)
