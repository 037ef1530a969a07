"""Licence notes: origin and licence of networks, data and packages, and what the user must check.

The notes contain only what a record or a package states. The terms of weights and data are unknown: they are listed with the
note that they must be checked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from typing import NamedTuple, TypedDict

from compress.core.entries import mapping
from compress.core.errors import CompressError
from compress.core.language import gettext, joined
from compress.core.licence_note import LicenceNote
from compress.core.record import StageRecord
from compress.core.registry import lookup
from compress.models.settings import TEACHER, brings_weights, split_source

ARCHITECTURES = {"torchvision": "torchvision", "timm": "timm", "text_student": "compress"}
"""Package by prefix of the source of a network."""
PYTHON = "PSF-2.0"
"""Licence of the interpreter, which has no metadata of a package."""
SHORT = 60
"""A longer licence field is the full text of a licence."""


def run_notes(stages: Iterable[StageRecord], data: Mapping[str, object]) -> tuple[LicenceNote, ...]:
    """Notes of a run: its networks, its data, and the packages that made the artifact.

    Args:
        stages: Records of the teachers, of the start, and of the stages.
        data: Data settings of the run.
    """
    records = tuple(stages)
    versions = sorted({item for record in records for item in record.versions.items()})
    packages = (package_note(name, version) for name, version in versions)
    return (*network_notes(records), *data_notes(records, data), *packages)


def network_notes(stages: Iterable[StageRecord]) -> Iterator[LicenceNote]:
    """Notes of the teachers and of the network at the start, whose records have the key of the network."""
    for record in stages:
        if network := mapping(record.parameters, "network"):
            yield from notes_of_network(network, "teacher" if record.name.startswith("teacher") else "network")


def data_notes(stages: Iterable[StageRecord], data: Mapping[str, object]) -> Iterator[LicenceNote]:
    """Notes of the data of a run, of data that a stage alone uses, and of a tokenizer that was read."""
    if source := data.get("source"):
        yield _data_note(gettext("training data"), str(source))
    for record in stages:
        if source := mapping(record.parameters, "data").get("source"):
            yield _data_note(gettext("training data of stage {stage}", stage=record.name), str(source))
    if isinstance(tokenizer := data.get("tokenizer"), str):
        yield LicenceNote(what=gettext("tokenizer"), origin=tokenizer, licence=unknown(), must_check=True)


def package_note(package: str, version: str = "") -> LicenceNote:
    """Note of a package that the run used.

    Args:
        package: Its name.
        version: The version of the run; the licence of another version is not taken for it. Empty for the installed one.
    """
    stated = stated_licence(package)
    what = gettext("package {name}", name=package)
    shown = version or (stated.version if stated else "")
    if package == "python":
        return LicenceNote(what=what, origin=f"python.org, {shown}", licence=PYTHON)
    origin = f"PyPI, {shown}" if shown else "PyPI"
    is_this = stated is not None and version in ("", stated.version)
    return LicenceNote(what=what, origin=origin, **_licence(stated if is_this else None))


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
    return _licence(stated_licence(package))["licence"]


class _Licence(TypedDict):
    licence: str
    must_check: bool


def _licence(stated: StatedLicence | None) -> _Licence:
    """The licence that a package states in one line, and whether it must be checked."""
    if stated is None:
        words = gettext("must be checked: the package was not installed when this was written")
        return {"licence": words, "must_check": True}
    if not stated.text:
        return {"licence": unknown(), "must_check": True}
    words = gettext("{licence}, from its metadata ({version})", licence=stated.text, version=stated.version)
    return {"licence": words, "must_check": False}


def unknown() -> str:
    """The licence of a part whose terms no record states."""
    return gettext("unknown to compress: check it with the publisher")


def notes_of_network(key: Mapping[str, object], role: str) -> list[LicenceNote]:
    """Notes of the architecture and the weights of one network.

    Args:
        key: Its identity in a record: `settings`, a copied `teacher`, or the `class` of the caller's module.
        role: `teacher` or `network`.
    """
    named = {"role": gettext("teacher") if role == "teacher" else gettext("network")}
    if copied := mapping(key, "teacher"):  # a copy of the teacher is of what the teacher is of
        return notes_of_network(copied, role)
    settings = mapping(key, "settings")
    if not settings:
        what = gettext("{role}: architecture and weights", **named)
        origin = gettext("the caller's own {name}", name=str(key.get("class", "module")))
        return [LicenceNote(what=what, origin=origin, licence=unknown(), must_check=True)]
    own = str(settings.get("source", ""))
    source = str(settings.get("architecture") or own)
    package = ARCHITECTURES.get(split_source(source)[0])
    stated: _Licence = _licence(stated_licence(package)) if package else {"licence": unknown(), "must_check": True}
    architecture = LicenceNote(what=gettext("{role}: architecture", **named), origin=source, **stated)
    return [architecture, _weights_note(own, settings, named)]


def _weights_note(own: str, settings: Mapping[str, object], named: Mapping[str, str]) -> LicenceNote:
    weights = None if settings.get("weights") is None else str(settings["weights"])
    initial = gettext("{role}: initial weights", **named)
    if not brings_weights(own, weights, mapping(settings, "args")):
        return LicenceNote(what=initial, origin=gettext("random in this run"), licence=gettext("no third-party licence"))
    if own == TEACHER:
        return LicenceNote(what=initial, origin=gettext("a copy of the teacher"), licence=gettext("that of the teacher"))
    if weights is None:
        return LicenceNote(what=initial, origin=own, licence=unknown(), must_check=True)
    return LicenceNote(
        what=gettext("{role}: pretrained weights", **named),
        origin=gettext("{weights} of {source}", weights=weights, source=own),
        licence=joined((unknown(), gettext("check the terms of their training data as well"))),
        must_check=True,
    )


def _data_note(what: str, source: str) -> LicenceNote:
    kind = split_source(source)[0]
    try:
        publisher = lookup("data", kind).source
    except CompressError:
        publisher = gettext("the user's own")
    terms = joined((unknown(), gettext("its terms may apply to weights that were trained on it")))
    return LicenceNote(what=what, origin=f"{source}: {publisher}", licence=terms, must_check=True)
