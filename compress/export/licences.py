"""Licence notes of an artifact folder: what in it is from where, what its package says of its licence, what must be checked.

Only what a record or a package states is written. Weights and data carry terms that no file here can know: they are named,
with the sentence that they must be checked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import metadata
from typing import NamedTuple

import compress
from compress.core.entries import mapping, text
from compress.core.errors import CompressError
from compress.core.record import StageRecord
from compress.core.registry import lookup

RUNTIMES = {name: (name, "numpy", "pillow") for name in ("onnxruntime", "openvino", "tensorrt")}
"""Packages that `infer.py` imports, by runtime."""
ARCHITECTURES = {"torchvision": "torchvision", "timm": "timm"}
"""Package by the prefix of a network's source."""
CHECK = "must be checked with its publisher: compress does not know it"
SHORT = 60
"""A licence field longer than this is the whole text."""


class LicenceNote(NamedTuple):
    """One thing that ships, or that what ships needs.

    Attributes:
        what: The thing.
        origin: Where it is from.
        licence: As its package states it, or that it must be checked.
    """

    what: str
    origin: str
    licence: str


def licence_notes(runtime: str, data_source: str, earlier: Iterable[StageRecord]) -> tuple[LicenceNote, ...]:
    """All notes of one folder.

    Args:
        runtime: That runs the artifact.
        data_source: As in the recipe.
        earlier: Records of the stages before export, the teachers' first.
    """
    notes = [LicenceNote("infer.py, build_engine.sh", f"compress {compress.__version__}", package_licence("compress"))]
    for record in earlier:
        if network := mapping(record.parameters, "network"):
            notes += _of_network(network, "teacher" if record.name.startswith("teacher") else "network")
    kind = data_source.partition(":")[0]
    origin = f"{data_source}: {_source('data', kind)}"
    notes.append(LicenceNote("training data", origin, f"{CHECK}; weights that were trained on it may carry its terms"))
    for package in RUNTIMES.get(runtime, ()):
        notes.append(
            LicenceNote(
                f"package {package}, which infer.py needs and which is not in this folder", "PyPI", package_licence(package)
            )
        )
    return tuple(notes)


def package_licence(package: str) -> str:
    """What the installed package's metadata states, in one line."""
    try:
        about = metadata.metadata(package)
    except metadata.PackageNotFoundError:
        return "must be checked: the package is not installed where this was written"
    expression, field = ("".join(about.get_all(key) or ()) for key in ("License-Expression", "License"))
    classifiers = [entry.rpartition(" :: ")[2] for entry in about.get_all("Classifier") or () if entry.startswith("License ::")]
    short = field if len(field) <= SHORT and "\n" not in field else ""
    stated = expression or short or ", ".join(classifiers)
    return f"{stated}, as its metadata says ({about['Version']})" if stated else CHECK


def as_text(notes: Iterable[LicenceNote]) -> str:
    """The notes as a Markdown page."""
    rows = "\n".join(f"| {' | '.join(field.replace('|', '/') for field in note)} |" for note in notes)
    header = "| what | from | licence |\n| --- | --- | --- |"
    return (
        "# Licence notes\n\nWhat compress knows of where the contents of this folder are from. It is no legal advice, and not\n"
        f"complete: whoever ships the model checks what is marked so.\n\n{header}\n{rows}\n"
    )


def _of_network(key: Mapping[str, object], role: str) -> list[LicenceNote]:
    settings = mapping(key, "settings")
    if not settings:
        return [LicenceNote(f"{role}: architecture and weights", f"the caller's own {key.get('class', 'module')}", CHECK)]
    own = text(settings, "source")
    source = str(settings["architecture"] or own)
    kind = source.partition(":")[0]
    package = ARCHITECTURES.get(kind)
    notes = [LicenceNote(f"{role}: architecture", source, package_licence(package) if package else CHECK)]
    if settings["weights"]:
        origin = f"{settings['weights']} of {own}"
        notes.append(
            LicenceNote(f"{role}: pretrained weights", origin, f"{CHECK}, and so are the terms of the data behind them")
        )
    elif own.startswith(("file:", "python:")):
        notes.append(LicenceNote(f"{role}: first weights", own, CHECK))
    else:
        notes.append(LicenceNote(f"{role}: first weights", "drawn at random in this run", "none of others"))
    return notes


def _source(family: str, name: str) -> str:
    try:
        return lookup(family, name).source
    except CompressError:
        return "the user's own"
