"""Tables for the reproduction of a run: licences, versions, seeds, keys and files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from compress.core.entries import mapping
from compress.core.format_quantity import format_duration
from compress.core.language import again, gettext
from compress.core.licence_note import LicenceNote
from compress.core.run_record import RunRecord
from compress.core.sentences.names import stage_title
from compress.core.sentences.report import headers, word
from compress.models.licences import data_notes, notes_of_network
from compress.pipeline.report.table import Cell, Table

MANY = 24
"""Largest number of files of a folder that are listed individually."""
SEEDS_HEADER = ("stage", "seed", "key", "key of the parent", "started", "duration")


def licences_table(record: RunRecord) -> Table:
    """Origin and licence of networks, data and packages, those that must be checked first."""
    notes = sorted(licence_notes(record), key=lambda note: not note.must_check)
    rows = tuple(
        (
            Cell(again(note.what)),
            Cell(again(note.origin)),
            Cell(again(note.licence), tone="not-shown" if note.must_check else ""),
        )
        for note in notes
    )
    return Table(word("licences.title"), headers("licences.header"), rows, remarks=(word("licences.text"),), collapsed=True)


def licence_notes(record: RunRecord) -> tuple[LicenceNote, ...]:
    """Those of the record; of an older record without any, those of the networks and the data that its recipe names."""
    if record.licences:
        return record.licences
    teachers = record.recipe.get("teacher")
    entries = [("network", record.recipe.get("model"))]
    entries += [("teacher", entry) for entry in (teachers if isinstance(teachers, list | tuple) else [teachers])]
    networks = [
        note
        for role, entry in entries
        if isinstance(entry, Mapping)
        for note in notes_of_network(entry if mapping(entry, "settings") else {**entry, "settings": entry}, role)
    ]
    return (*networks, *data_notes(record.every_stage, record.data))


def pairs_table(title: str, pairs: Mapping[str, str], *, collapsed: bool = False) -> Table:
    """Names and values."""
    rows = tuple((Cell(name), Cell(text)) for name, text in pairs.items())
    return Table(title, ("", gettext("value")), rows, collapsed=collapsed)


def versions_table(record: RunRecord) -> Table:
    """Package versions; where stages differ, each with its stages."""
    packages: dict[str, dict[str, list[str]]] = {}
    for stage in record.every_stage:
        for package, version in stage.versions.items():
            packages.setdefault(package, {}).setdefault(version, []).append(str(stage.index))
    pairs = {
        package: next(iter(versions))
        if len(versions) == 1
        else "; ".join(
            gettext("{version} (stage {stages})", version=version, stages=", ".join(stages))
            for version, stages in versions.items()
        )
        for package, versions in sorted(packages.items())
    }
    return pairs_table(gettext("Package versions"), pairs, collapsed=True)


def files_table(record: RunRecord) -> Table:
    """Every file of a stage with its SHA-256; a folder with many files has one row."""
    rows = tuple(
        (Cell(stage_title(stage)), Cell(path), Cell(digest))
        for stage in record.every_stage
        for path, digest in _listed(stage.files).items()
    )
    return Table(gettext("Files and their SHA-256"), (gettext("stage"), gettext("file"), "SHA-256"), rows, collapsed=True)


def _listed(files: Mapping[str, str]) -> dict[str, str]:
    """Hashes by path; a folder with more than `MANY` files has one entry."""
    counts = Counter(path.partition("/")[0] for path in files if "/" in path)
    shown: dict[str, str] = {}
    for path, digest in files.items():
        folder = path.partition("/")[0]
        if counts[folder] > MANY:
            shown[f"{folder}/"] = gettext("{count} files, whose hashes are in record.json", count=counts[folder])
        else:
            shown[path] = digest
    return shown


def seeds_table(record: RunRecord) -> Table:
    """Seed, key, start and wall time of every stage."""
    rows = tuple(
        (
            Cell(stage_title(stage)),
            Cell(str(stage.seed)),
            Cell(stage.key),
            Cell(stage.parent_key or "—"),
            Cell(stage.started),
            Cell(format_duration(stage.wall_time_s)),
        )
        for stage in record.every_stage
    )
    return Table(gettext("Seeds and keys"), tuple(map(gettext, SEEDS_HEADER)), rows, collapsed=True)
