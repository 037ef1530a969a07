"""Run a shipped artifact: its `infer.py` in a process of its own, if it is the script that this package writes.

A script is code. One that differs from what the package writes for the file beside it runs only with --trust-code.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from compress.backends.onnx_files import read_metadata
from compress.core.entries import items
from compress.core.errors import ConversionError, DataError, TrustError
from compress.core.network_spec import ImagePreprocessing, NetworkSpec
from compress.core.registry import lookup, names
from compress.core.signature import Signature
from compress.data.sources.find_images import SUFFIXES
from compress.export.infer_script import infer_script

SCRIPT, MODEL = "infer.py", "model.onnx"
RUNTIMES = ("onnxruntime", "openvino", "onnxruntime:cuda")
TIMEOUT_S = 600.0
PLAIN_NAME = re.compile(r"^[\w./:\- ]+$")


class ArtifactOutput(NamedTuple):
    """What the script printed for one input.

    Attributes:
        title: The input, where there are several.
        text: Its output, or its error.
        failed: Whether it ended with an error.
    """

    title: str
    text: str
    failed: bool


def run_artifact(artifact: Path, source: Path, *, trust_code: bool = False) -> Iterator[ArtifactOutput]:
    """Run the script of an artifact on each input.

    Args:
        artifact: Its folder, or a run directory with one artifact.
        source: An image, an .npz, or a folder of such files.
        trust_code: Whether a script that this package did not write may run.

    Raises:
        ConversionError: There is no artifact, or its file is damaged.
        DataError: There is no input.
        TrustError: The script is another one than the package writes.
    """
    folder = find_artifact(artifact)
    if not trust_code and not is_own_script(folder):
        msg = f"{folder / SCRIPT} is not the script that compress writes for {MODEL}; read it, then add --trust-code to run it"
        raise TrustError(msg)
    inputs = _inputs(source)
    for path in inputs:
        command = [sys.executable, str(folder / SCRIPT), str(path.absolute())]
        try:
            process = subprocess.run(  # noqa: S603  # this interpreter and a script that was checked above
                command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired as error:
            msg = f"{folder / SCRIPT} did not finish within {TIMEOUT_S:.0f} s on {path}"
            raise ConversionError(msg) from error
        title = path.name if len(inputs) > 1 else ""
        yield ArtifactOutput(title, process.stdout + process.stderr, process.returncode != 0)


def find_artifact(path: Path) -> Path:
    """The folder with the script.

    Raises:
        ConversionError: There is none, or several.
    """
    if (path / SCRIPT).is_file() and (path / MODEL).is_file():
        return path
    folders = sorted(script.parent for script in path.glob(f"artifacts/*/{SCRIPT}"))
    if len(folders) == 1:
        return folders[0]
    if folders:
        msg = f"{path} has artifacts for {', '.join(folder.name for folder in folders)}; give the folder of one"
        raise ConversionError(msg)
    msg = f"{path} holds no artifact ({SCRIPT} and {MODEL}); give reports/NAME/HASH/artifacts/DEVICE or the run directory"
    raise ConversionError(msg)


def is_own_script(folder: Path) -> bool:
    """Whether the script is what this package writes for the file beside it, by any task and runtime."""
    try:
        text = (folder / SCRIPT).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    spec = read_spec(folder / MODEL)
    if not all(PLAIN_NAME.match(each.name) for each in (*spec.signature.inputs, *spec.signature.outputs)):
        return False
    codes = {lookup("task", name).load().infer_code for name in names("task")}
    return any(text == infer_script(spec, runtime=runtime, code=code) for code in codes for runtime in RUNTIMES)


def read_spec(path: Path) -> NetworkSpec:
    """The specification in the metadata of a shipped file.

    Raises:
        ConversionError: It was not written by this package.
    """
    try:
        entries = read_metadata(path)
        image = {key: entries[key] for key in ("mean", "std", "resize") if key in entries}
        return NetworkSpec(
            signature=Signature.model_validate(entries["signature"]),
            classes=tuple(map(str, items(entries, "classes"))),
            preprocessing=ImagePreprocessing(**image) if image else None,
        )
    except (KeyError, TypeError, ValueError, ValidationError) as error:
        msg = f"{path} has no description that compress wrote ({type(error).__name__}); give an artifact of a run"
        raise ConversionError(msg) from error


def _inputs(source: Path) -> list[Path]:
    if source.is_file():
        return [source]
    suffixes = SUFFIXES | {".npz", ".npy"}
    files = sorted(path for path in source.glob("*") if path.suffix.lower() in suffixes) if source.is_dir() else []
    if not files:
        msg = f"{source} is no file, and no folder with images or .npz files; give one"
        raise DataError(msg)
    return files
