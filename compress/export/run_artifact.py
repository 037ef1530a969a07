"""Run an artifact: its `infer.py` in a separate process.

A script that differs from the one that this package writes for the model beside it runs only with --trust-code.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from compress.backends.converted.convert import target_name
from compress.backends.onnx_files import read_metadata
from compress.core.entries import items
from compress.core.errors import ConversionError, DataError, MissingPackageError, TrustError
from compress.core.language import gettext
from compress.core.network_spec import (
    AudioPreprocessing,
    ImagePreprocessing,
    ImageTextPreprocessing,
    NetworkSpec,
    TextPreprocessing,
)
from compress.core.registry import lookup, names
from compress.core.signature import Signature
from compress.core.user_path import user_path
from compress.data.sources.find_images import SUFFIXES
from compress.data.sources.text.read_lines import read_text
from compress.export.converted_script import CODES, converted_script
from compress.export.decoder_script import decoder_script, speculative_script
from compress.export.infer_script import answer_script, infer_script, tower_script
from compress.export.respond_script import respond_script

SCRIPT, MODEL = "infer.py", "model.onnx"
RUNTIMES = ("onnxruntime", "openvino", "onnxruntime:cuda")
CONVERTED = tuple(CODES)
"""Runtimes with a file of their own."""
TIMEOUT_S = 600.0
PLAIN_NAME = re.compile(r"^[\w./:\- ]+$")


class ArtifactOutput(NamedTuple):
    """Output of the script for one input.

    Attributes:
        title: Name of the input, if there are several.
        text: Output or error message.
        failed: Whether the script failed.
    """

    title: str
    text: str
    failed: bool


def run_artifact(
    artifact: Path, source: str | Path, pair: str | None = None, *, trust_code: bool = False
) -> Iterator[ArtifactOutput]:
    """Run the script of an artifact on each input.

    Args:
        artifact: Folder of the artifact, or a run directory with one artifact.
        source: An image, an .npz file, or a folder of such files; for a network of texts a text, or a .txt file with one in
            each line.
        pair: The second text, for a network of pairs of texts.
        trust_code: Whether a script that this package did not write may run.

    Raises:
        ConversionError: There is no artifact, its model is damaged, or the script exceeds the time limit.
        DataError: There is no input.
        MissingPackageError: The runtime of a converted file is not installed.
        TrustError: The script differs from that of this package.
    """
    folder = find_artifact(artifact)
    if not trust_code and not is_own_script(folder):
        msg = gettext(
            "{folder} is not the script that compress writes for {model}; check it, then run with --trust-code",
            folder=folder / SCRIPT,
            model=MODEL,
        )
        raise TrustError(msg)
    require_runtime(folder)
    inputs = list(_arguments(read_spec(folder / MODEL), source, pair))
    for title, arguments in inputs:
        command = [sys.executable, str(folder / SCRIPT), *arguments]
        try:
            process = subprocess.run(  # noqa: S603  # this interpreter and a script that was checked above
                command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired as error:
            msg = gettext(
                "{folder} takes longer than {timeout_s:.0f} s on {path}",
                folder=folder / SCRIPT,
                timeout_s=TIMEOUT_S,
                path=title,
            )
            raise ConversionError(msg) from error
        yield ArtifactOutput(title if len(inputs) > 1 else "", process.stdout + process.stderr, process.returncode != 0)


def find_artifact(path: Path) -> Path:
    """Folder of the artifact.

    Raises:
        ConversionError: There is no artifact, or more than one.
    """
    if (path / SCRIPT).is_file() and (path / MODEL).is_file():
        return path
    folders = sorted(script.parent for script in path.glob(f"artifacts/*/{SCRIPT}"))
    if len(folders) == 1:
        return folders[0]
    if folders:
        msg = gettext(
            "{path} has artifacts for {folders}; give the folder of one of them",
            path=path,
            folders=", ".join(folder.name for folder in folders),
        )
        raise ConversionError(msg)
    msg = gettext(
        "{path} contains no artifact ({script} and {model}); give reports/NAME/HASH/artifacts/DEVICE or the run directory",
        path=path,
        script=SCRIPT,
        model=MODEL,
    )
    raise ConversionError(msg)


def is_own_script(folder: Path) -> bool:
    """Whether the script is that of this package for the model beside it, for any task and runtime."""
    try:
        text = (folder / SCRIPT).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    spec = read_spec(folder / MODEL)
    if spec.image_text is not None and text == (answer_script if spec.image_text.writes else tower_script)(spec):
        return True
    responds = spec.text is not None and text in (respond_script(spec), respond_script(spec, cache=False))
    if responds or text in (decoder_script(spec), speculative_script(spec)):
        return True
    if not all(PLAIN_NAME.match(tensor.name) for tensor in (*spec.signature.inputs, *spec.signature.outputs)):
        return False
    codes = {code for name in names("task") for code in lookup("task", name).load().infer_codes()}
    if any(text == infer_script(spec, runtime=runtime, code=code) for code in codes for runtime in RUNTIMES):
        return True
    return any(text == converted_script(spec, runtime, code) for code in codes for runtime in CONVERTED)


def require_runtime(folder: Path) -> None:
    """Check that the runtime of a converted artifact is installed.

    Raises:
        MissingPackageError: It is not.
    """
    runtime = next((name for name in CONVERTED if (folder / target_name(name)).is_file()), None)
    if runtime is None:
        return
    runner = lookup("runner", runtime).load()
    if find_spec(runner.module.partition(".")[0]) is None:
        purpose = gettext("running {path} in {runtime}", path=folder / target_name(runtime), runtime=runner.runtime)
        raise MissingPackageError(runner.package, runner.extra, purpose)


def read_spec(path: Path) -> NetworkSpec:
    """Network specification in the metadata of a file.

    Raises:
        ConversionError: The metadata is not that of this package.
    """
    try:
        entries = read_metadata(path)
        image = {key: entries[key] for key in ("mean", "std", "resize") if key in entries}
        return NetworkSpec(
            signature=Signature.model_validate(entries["signature"]),
            classes=tuple(map(str, items(entries, "classes"))),
            preprocessing=ImagePreprocessing(**image) if image else _other_preprocessing(entries),
        )
    except (KeyError, TypeError, ValueError, ValidationError) as error:
        msg = gettext(
            "{path} has no metadata of compress ({kind}); give an artifact of a run", path=path, kind=type(error).__name__
        )
        raise ConversionError(msg) from error


def _other_preprocessing(
    entries: Mapping[str, object],
) -> TextPreprocessing | ImageTextPreprocessing | AudioPreprocessing | None:
    if "image_text" in entries:
        return ImageTextPreprocessing.model_validate(entries["image_text"])
    if "audio" in entries:
        return AudioPreprocessing.model_validate(entries["audio"])
    return TextPreprocessing.model_validate(entries["text"]) if "text" in entries else None


def _arguments(spec: NetworkSpec, source: str | Path, pair: str | None) -> Iterator[tuple[str, list[str]]]:
    """Title and arguments of the script for each input.

    Raises:
        DataError: There is no input, a text lacks its pair, or has one that the network does not take.
    """
    if spec.image_text is not None:
        if pair is None:
            msg = gettext("the network takes an image and a text; give both, the text in quotes")
            raise DataError(msg)
        for path in _inputs(user_path(source)):
            yield path.name, [str(path.absolute()), *_texts(pair)]
        return
    if spec.text is None:
        if pair is not None:
            msg = gettext("the network takes no texts, so {pair!r} is one input too many; leave it out", pair=pair)
            raise DataError(msg)
        for path in _inputs(user_path(source)):
            yield path.name, [str(path.absolute())]
        return
    if spec.text.pairs == (pair is None):
        expected = gettext("two texts") if spec.text.pairs else gettext("one text")
        msg = gettext("the network takes {expected}; give each as one argument, in quotes", expected=expected)
        raise DataError(msg)
    for text in _texts(source):
        yield text, [text] if pair is None else [text, pair]


def _texts(source: str | Path) -> list[str]:
    """The text, or the lines of a .txt file of this name."""
    text = str(source)
    if not text.endswith(".txt") or not user_path(text).is_file():
        return [text]
    return [line for line in read_text(user_path(text), "utf-8").splitlines() if line.strip()]


def _inputs(source: Path) -> list[Path]:
    if source.is_file():
        return [source]
    suffixes = SUFFIXES | {".npz", ".npy", ".wav", ".flac", ".ogg", ".mp3"}
    files = sorted(path for path in source.glob("*") if path.suffix.lower() in suffixes) if source.is_dir() else []
    if not files:
        msg = gettext("{source} is neither a file nor a folder with images or .npz files; give one of them", source=source)
        raise DataError(msg)
    return files
