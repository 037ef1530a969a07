"""Checks of the sources of data and networks that a recipe names.

They run before any weight is loaded, and without torch.
"""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from compress.config.key_path import KeyPath
from compress.config.pydantic_messages import Finding
from compress.core.errors import CompressError, MissingPackageError, nearest
from compress.core.language import gettext
from compress.core.user_path import user_path
from compress.data.settings import parse_source
from compress.models.settings import ModelSettings, split_source

_FUNCTION = re.compile(r"^python:.+\.py:[A-Za-z_]\w*$")


def check_data_source(source: str) -> Iterator[Finding]:
    """Unknown data sources, and wrong shapes of images."""
    path: KeyPath = ("data", "source")
    try:
        origin = parse_source(source, Path())
    except CompressError as error:
        yield path, str(error)
    else:
        if origin.name == "python":
            yield from _check_function(path, source)


def check_model(path: KeyPath, settings: ModelSettings) -> Iterator[Finding]:
    """Unknown torchvision networks, and malformed function references."""
    for field in ("source", "architecture"):
        source = getattr(settings, field)
        kind, _, name = (source or "").partition(":")
        if kind == "python":
            yield from _check_function((*path, field), source)
        elif kind == "torchvision" and torchvision_names() and name not in torchvision_names():
            yield (
                (*path, field),
                gettext(
                    "unknown torchvision network {name!r}: {hint}", name=name, hint=nearest(name.lower(), torchvision_names())
                ),
            )


def with_towers(models: Sequence[tuple[KeyPath, ModelSettings]]) -> Iterator[tuple[KeyPath, ModelSettings]]:
    """Each network, and the networks that it joins."""
    for path, settings in models:
        yield path, settings
        yield from (((*path, "args", name), tower) for name, tower in settings.towers.items())


def check_original(model: ModelSettings) -> Iterator[Finding]:
    """Fresh weights of the network that the task `outputs` compares with.

    Args:
        model: The network at the start of the chain.
    """
    if not model.trained:
        message = gettext(
            "the task outputs compares with this network, which has new random weights; set weights: DEFAULT, or take "
            "source: file:PATH with an architecture, source: onnx:PATH, or another task"
        )
        yield ("model", "source"), message


def check_weights_file(path: KeyPath, settings: ModelSettings, base: Path) -> Iterator[Finding]:
    """Weights that are missing or cannot be read, and a network of a missing optional package."""
    kind, name = split_source(settings.source)
    if kind == "timm" and importlib.util.find_spec("timm") is None:
        yield (
            (*path, "source"),
            str(MissingPackageError("timm", "timm", gettext("the network {source}", source=settings.source))),
        )
    if kind == "hf" and importlib.util.find_spec("transformers") is None:
        yield (
            (*path, "source"),
            str(MissingPackageError("transformers", "hf", gettext("the network {source}", source=settings.source))),
        )
    if kind in ("file", "onnx"):
        try:
            file = user_path(name, base)
        except CompressError as error:
            yield (*path, "source"), str(error)
        else:
            if not (file.is_file() and os.access(file, os.R_OK)):  # opening a pipe would block
                yield (
                    (*path, "source"),
                    gettext(
                        "cannot read a file {file}; relative paths in a recipe are relative to {base}", file=file, base=base
                    ),
                )


def _check_function(path: KeyPath, source: str) -> Iterator[Finding]:
    if not _FUNCTION.match(source):
        yield path, gettext("write your own function as python:FILE.py:FUNCTION, got {source!r}", source=source)


@cache
def torchvision_names() -> tuple[str, ...]:
    """Names of the networks of torchvision for all tasks, read from its files without an import; empty if not installed."""
    package = importlib.util.find_spec("torchvision")
    if package is None or package.origin is None:
        return ()
    registered = re.compile(r"^@register_model\(\)\n(?:[^\n]*\n)*?def (\w+)\(", re.MULTILINE)
    folder = Path(package.origin).parent / "models"
    files = sorted((*folder.glob("*.py"), *folder.glob("segmentation/*.py"), *folder.glob("detection/*.py")))
    return tuple(sorted(name for file in files for name in registered.findall(file.read_text(encoding="utf-8"))))
