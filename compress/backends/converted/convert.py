"""Convert an ONNX file for another runtime, in a process of its own: converters print, abort and leak; some take minutes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np

from compress.backends.converted.missing_operators import missing_operators
from compress.backends.fixed_shapes import example_inputs
from compress.backends.runner_protocol import Array
from compress.core.errors import ConversionError, MissingOperatorError, MissingPackageError
from compress.core.language import gettext
from compress.core.registry import entries, lookup
from compress.core.registry_entry import Entry

TIMEOUT_S = 900
FAILURE = "failure.json"
"""File in which the process writes why it failed."""
PACKAGE_ROOT = Path(__file__).parents[3]
INPUTS = "inputs.npz"
LONGEST = 400
"""Longest part of a converter's message that is shown."""


def converter_of(runtime: str) -> Entry | None:
    """Row of the converter of a runtime; None for one that reads ONNX."""
    family = runtime.partition(":")[0]
    return next((row for row in entries("converter") if row.name == family), None)


def convert_file(
    runtime: str, source: Path, target: Path, inputs: Mapping[str, Array] | None = None, *, timeout_s: float = TIMEOUT_S
) -> None:
    """Convert an ONNX file, float or with Q/DQ pairs; a sidecar with its inputs is written beside it.

    Args:
        runtime: Name of a converter.
        source: ONNX file.
        target: File to write, with the ending of the converter's row.
        inputs: Example inputs by name, whose shapes the file has; None for one sample with typical sizes.
        timeout_s: Time limit, s.

    Raises:
        MissingPackageError: The converter is not installed.
        MissingOperatorError: It has no such operator.
        ConversionError: It failed; the message has its last words.
    """
    row = lookup("converter", runtime)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="compress-convert-") as name:
        folder = Path(name)
        np.savez(folder / INPUTS, **example_inputs(source) if inputs is None else inputs)  # type: ignore[arg-type]  # NumPy annotates its flag
        command = [sys.executable, "-m", f"{__package__}.convert_process"]
        arguments = [row.target, str(source.resolve()), str(target.resolve()), name]
        paths = [str(PACKAGE_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
        try:
            ran = subprocess.run(  # noqa: S603
                [*command, *arguments],
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout_s,
                env=environment,
                cwd=folder,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            reason = gettext("it took longer than {seconds:.0f} s", seconds=timeout_s)
            raise _failed(runtime, source, reason) from error
        if ran.returncode == 0 and target.is_file():
            return
        raise _error(row, source, folder / FAILURE, ran)


def _error(row: Entry, source: Path, failure: Path, ran: subprocess.CompletedProcess[str]) -> Exception:
    """The error of a process that failed, from the file that it wrote, or from its last words if it was aborted."""
    if not failure.is_file():
        return _failed(row.name, source, _last_words(ran))
    found = json.loads(failure.read_text(encoding="utf-8"))
    if found["kind"] == "missing":
        purpose = gettext("converting {path} for {runtime}", path=source.name, runtime=row.name)
        return MissingPackageError(row.options["package"], row.options["extra"], purpose)
    return _failed(row.name, source, found["text"][-LONGEST:], found["operators"])


def _last_words(ran: subprocess.CompletedProcess[str]) -> str:
    lines = [line.strip() for line in f"{ran.stdout}\n{ran.stderr}".splitlines() if line.strip()]
    return gettext("its converter ended with {code}: {text}", code=ran.returncode, text=" ".join(lines)[-LONGEST:])


def _failed(runtime: str, source: Path, reason: str, operators: Sequence[str] = ()) -> ConversionError:
    message = gettext("{path} was not converted for {runtime}: {reason}", path=source.name, runtime=runtime, reason=reason)
    missing = tuple(operators) or missing_operators(reason)
    return MissingOperatorError(message, missing) if missing else ConversionError(message)


def target_name(runtime: str, stem: str = "model") -> str:
    """File name of a converted network."""
    return stem + str(lookup("converter", runtime).options["ending"])


def converted(runtime: str, source: Path) -> Path:
    """The file of a runtime, converted once per process and contents of the ONNX file.

    Raises:
        MissingPackageError: The converter is not installed.
        ConversionError: It failed.
    """
    state = source.stat()
    return _converted(runtime, source.resolve(), state.st_mtime_ns, state.st_size)


@cache
def _converted(runtime: str, source: Path, *_: int) -> Path:
    target = Path(_folder().name) / f"{abs(hash((runtime, source, *_))):x}" / target_name(runtime)
    convert_file(runtime, source, target)
    return target


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    """Folder of the converted files; removed when the process ends."""
    return tempfile.TemporaryDirectory(prefix="compress-converted-")
