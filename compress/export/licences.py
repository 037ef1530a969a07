"""Licence notes of an artifact folder: origin and licence of its contents, and what the user must check.

The notes contain only what a record or a package states. The terms of weights and data are unknown: they are listed with the
note that they must be checked.
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
from compress.models.settings import brings_weights

RUNTIMES = {name: (name, "numpy", "pillow") for name in ("onnxruntime", "openvino", "tensorrt")}
"""Packages that `infer.py` imports, by runtime."""
ARCHITECTURES = {"torchvision": "torchvision", "timm": "timm", "text_student": "compress"}
"""Package by prefix of the source of a network."""
CHECK = "unknown to compress: check it with the publisher"
SHORT = 60
"""A longer licence field is the full text of a licence."""


class LicenceNote(NamedTuple):
    """Licence of one part of the folder, or of a package that it needs.

    Attributes:
        what: The part.
        origin: Origin of the part.
        licence: Licence that its package states, or that it must be checked.
    """

    what: str
    origin: str
    licence: str


def licence_notes(runtime: str, data_source: str, earlier: Iterable[StageRecord]) -> tuple[LicenceNote, ...]:
    """All notes of one folder.

    Args:
        runtime: Runtime of the artifact.
        data_source: Data source of the recipe.
        earlier: Records of the stages before export, those of the teachers first.
    """
    notes = [LicenceNote("infer.py, build_engine.sh", f"compress {compress.__version__}", package_licence("compress"))]
    for record in earlier:
        if network := mapping(record.parameters, "network"):
            notes += _of_network(network, "teacher" if record.name.startswith("teacher") else "network")
    kind = data_source.partition(":")[0]
    origin = f"{data_source}: {_source('data', kind)}"
    notes.append(LicenceNote("training data", origin, f"{CHECK}; its terms may apply to weights that were trained on it"))
    for package in RUNTIMES.get(runtime, ()):
        notes.append(
            LicenceNote(f"package {package}, needed by infer.py, not in this folder", "PyPI", package_licence(package))
        )
    return tuple(notes)


class StatedLicence(NamedTuple):
    """Licence in the metadata of an installed package.

    Attributes:
        version: Version of the package.
        text: The licence on one line; empty where the package states none.
        is_expression: Whether it is an SPDX expression.
    """

    version: str
    text: str
    is_expression: bool


def stated_licence(package: str) -> StatedLicence | None:
    """Licence that an installed package states; None where it is not installed."""
    try:
        about = metadata.metadata(package)
    except metadata.PackageNotFoundError:
        return None
    expression, field = ("".join(about.get_all(key) or ()) for key in ("License-Expression", "License"))
    classifiers = [entry.rpartition(" :: ")[2] for entry in about.get_all("Classifier") or () if entry.startswith("License ::")]
    short = field if len(field) <= SHORT and "\n" not in field else ""
    return StatedLicence(about["Version"], expression or short or ", ".join(classifiers), bool(expression))


def package_licence(package: str) -> str:
    """Licence in the metadata of an installed package, in one line, with its version."""
    licence = stated_licence(package)
    if licence is None:
        return "must be checked: the package was not installed when this was written"
    return f"{licence.text}, from its metadata ({licence.version})" if licence.text else CHECK


def as_text(notes: Iterable[LicenceNote]) -> str:
    """The notes as a Markdown page."""
    rows = "\n".join(f"| {' | '.join(field.replace('|', '/') for field in note)} |" for note in notes)
    header = "| what | from | licence |\n| --- | --- | --- |"
    return (
        "# Licence notes\n\nOrigins and licences of the contents of this folder, as far as compress knows them. This is\n"
        f"neither legal advice nor complete: check the marked entries before you ship the model.\n\n{header}\n{rows}\n"
    )


def _of_network(key: Mapping[str, object], role: str) -> list[LicenceNote]:
    if copied := mapping(key, "teacher"):  # a copy of the teacher is of what the teacher is of
        return _of_network(copied, role)
    settings = mapping(key, "settings")
    if not settings:
        return [LicenceNote(f"{role}: architecture and weights", f"the caller's own {key.get('class', 'module')}", CHECK)]
    own = text(settings, "source")
    source = str(settings["architecture"] or own)
    kind = source.partition(":")[0]
    package = ARCHITECTURES.get(kind)
    notes = [LicenceNote(f"{role}: architecture", source, package_licence(package) if package else CHECK)]
    weights = None if settings["weights"] is None else text(settings, "weights")
    if not brings_weights(own, weights, mapping(settings, "args")):
        notes.append(LicenceNote(f"{role}: initial weights", "random in this run", "no third-party licence"))
    elif weights:
        terms = f"{CHECK}; check the terms of their training data as well"
        notes.append(LicenceNote(f"{role}: pretrained weights", f"{weights} of {own}", terms))
    else:
        notes.append(LicenceNote(f"{role}: initial weights", own, CHECK))
    return notes


def _source(family: str, name: str) -> str:
    try:
        return lookup(family, name).source
    except CompressError:
        return "the user's own"
