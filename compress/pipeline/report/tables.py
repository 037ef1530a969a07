"""Tables of a report, as plain rows: records in, no page language yet. Light: also used by the command line.

Every number carries the sign of how it came to be and points to a note below its table that says where, how and how often.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from compress.core.format_quantity import LABELS, POINTS, format_change, format_duration, format_provenance, quantity_label
from compress.core.latency_sessions import LATENCY, latency_before, stage_metrics, teacher_metrics
from compress.core.record import BenchmarkRow, Metrics, Quantity, RunRecord, StageRecord
from compress.core.sentences import render, render_subject
from compress.pipeline.report.table import Cell, Notes, Table

ROWS_SHOWN = 100
"""Rows of a stage's own table that a page shows; the record holds them all."""

MANY = 24
"""Files of one folder that the table of files lists one by one."""

SHOWN_OF = {"layers_time": 15}
"""Rows shown of tables of which the first tell most."""

COLUMNS = ("accuracy", "size_bytes", "parameters", "macs", "latency_ms")
"""What the overview tables show of a scorecard."""


def subjects_of(record: RunRecord) -> tuple[tuple[StageRecord, BenchmarkRow], ...]:
    """All measured or estimated rows, with the stage that gave them."""
    return tuple((stage, subject) for stage in record.stages for subject in stage.benchmark_rows)


def final_card(record: RunRecord) -> Metrics:
    """Scorecard of what ships: the last stage's."""
    return stage_metrics(record, record.stages[-1]) if record.stages else record.start


def reference_card(record: RunRecord) -> tuple[str, Metrics]:
    """What the result is held against: the teacher, or the starting network where there is none."""
    if record.teacher is None:
        return "starting network", record.start
    return "teacher", teacher_metrics(record)


def control_of(record: RunRecord) -> tuple[StageRecord, Quantity] | None:
    """The student trained alone, and the stage that trained it beside the distilled one."""
    found = ((stage, stage.results["control_accuracy"]) for stage in record.stages if "control_accuracy" in stage.results)
    return next(found, None)


def verdict_table(record: RunRecord) -> Table | None:
    """Every limit with what was allowed and found; None without a budget."""
    if record.verdict is None:
        return None
    notes = Notes()
    rows = tuple(
        (
            Cell(check.limit),
            Cell(check.allowed),
            notes.cell(check.limit.replace(" ", "_"), check.quantity),
            Cell("passed" if check.passed else "missed"),
            Cell(check.explanation),
        )
        for check in record.verdict.checks
    )
    return Table("Verdict", ("limit", "allowed", "found", "result", "how it stands"), rows, notes.sentences())


def _overview(record: RunRecord) -> list[tuple[str, Metrics, bool]]:
    """Name, scorecard and whether the row is the student trained alone."""
    rows: list[tuple[str, Metrics, bool]] = []
    if record.teacher:
        rows.append((*reference_card(record), False))
    rows.append(("student before" if record.teacher else "starting network", record.start, False))
    control = control_of(record)
    if control:
        stage, accuracy = control
        rows.append(("student trained alone", {"accuracy": accuracy}, True))
        rows.append((f"student after {stage.name}", stage_metrics(record, stage), False))
    rows.append(("artifact", final_card(record), False))
    return rows


def summary_table(record: RunRecord) -> Table:
    """Before and after, in a few rows: teacher, student, student trained alone, artifact, and what changed."""
    notes = Notes()
    name, reference = reference_card(record)
    rows = []
    for title, card, alone in _overview(record):
        cells = [notes.cell(column, card.get(column)) for column in COLUMNS]
        if alone:
            cells = [cells[0], *(Cell("same network") for _ in COLUMNS[1:])]
        rows.append((Cell(title), *cells))
    final = final_card(record)
    changes = (Cell(format_change(reference.get(column), final.get(column)) or "—") for column in COLUMNS)
    rows.append((Cell(f"artifact against {name}"), *changes))
    return Table("Before and after", ("", *(quantity_label(column) for column in COLUMNS)), tuple(rows), notes.sentences())


def summary_rows(record: RunRecord) -> list[list[str]]:
    """The before and after table for a terminal: a header row, then one row a network; every number with its sign."""
    table = summary_table(record)

    def plain(cell: Cell) -> str:
        return (
            cell.text
            if cell.how in (None, "not measured")
            else f"{cell.text} {format_provenance(Quantity(unit='1', how=cell.how))[0]}"
        )

    return [list(table.header), *([plain(cell) for cell in row] for row in table.rows)]


def chain_table(record: RunRecord) -> Table:
    """Every stage's scorecard with the change against the stage before."""
    notes = Notes()
    cards: list[tuple[str, Metrics, Metrics]] = []
    if record.teacher:
        cards.append((f"0 · {record.teacher.name}", teacher_metrics(record), {}))
    cards.append(("start", record.start, {}))
    for stage in record.stages:
        before = {name: each for name, each in stage.before.items() if name != LATENCY}
        before |= {LATENCY: rival} if (rival := latency_before(record, stage)) else {}
        cards.append((f"{stage.index} · {stage.name}", stage_metrics(record, stage), before))
    columns = _ordered(name for _, card, _ in cards for name in card)
    rows = tuple(
        (Cell(title), *(notes.cell(name, card.get(name), against=_rival(before, name)) for name in columns))
        for title, card, before in cards
    )
    return Table("Stage by stage", ("stage", *map(quantity_label, columns)), rows, notes.sentences())


def _rival(before: Metrics, name: str) -> Quantity | None:
    """What a number is compared with; a difference is one already."""
    return None if name in POINTS else before.get(name)


def _ordered(names: Iterable[str]) -> tuple[str, ...]:
    """Each name once, those with a label first, in its order."""
    seen = dict.fromkeys(names)
    return (*(name for name in LABELS if name in seen), *(name for name in seen if name not in LABELS))


def device_tables(record: RunRecord) -> tuple[Table, ...]:
    """One table for each profile stage and device: teacher, student and artifact side by side."""
    groups: dict[tuple[int, str], list[BenchmarkRow]] = {}
    for stage, subject in subjects_of(record):
        groups.setdefault((stage.index, subject.device), []).append(subject)
    several = len({index for index, _ in groups}) > 1
    return tuple(
        _device_table(f"{device} (stage {index})" if several else device, rows) for (index, device), rows in groups.items()
    )


def _device_table(title: str, subjects: Sequence[BenchmarkRow]) -> Table:
    notes = Notes()
    names = _ordered(name for subject in subjects for name in subject.quantities)
    first, last = subjects[0], subjects[-1]
    comparable = len(subjects) > 1
    rows = [(Cell("runtime"), *(Cell(subject.runtime) for subject in subjects), *((Cell(""),) * comparable))]
    if len({subject.file for subject in subjects}) > 1:
        rows.append((Cell("file"), *(Cell(subject.file) for subject in subjects), *((Cell(""),) * comparable)))
    for name in names:
        cells = [notes.cell(name, subject.quantities.get(name)) for subject in subjects]
        moved = format_change(first.quantities.get(name), last.quantities.get(name)) or "—"
        rows.append((Cell(quantity_label(name)), *cells, *((Cell(moved),) * comparable)))
    against = (f"{last.subject} against {first.subject}",) if comparable else ()
    header = ("", *(subject.subject for subject in subjects), *against)
    return Table(title, header, tuple(rows), notes.sentences())


def results_table(stage: StageRecord) -> Table | None:
    """Further quantities of a stage; None without any."""
    if not stage.results:
        return None
    notes = Notes()
    rows = tuple((Cell(quantity_label(name)), notes.cell(name, stage.results[name])) for name in _ordered(stage.results))
    return Table("Further results", ("", "value"), rows, notes.sentences())


def skipped_table(stage: StageRecord) -> Table | None:
    """What was left alone, grouped by reason; None where nothing was."""
    if not stage.skipped:
        return None
    groups: dict[str, list[str]] = {}
    for skip in stage.skipped:
        groups.setdefault(render(skip), []).append(render_subject(skip))
    rows = tuple((Cell(", ".join(things)), Cell(reason)) for reason, things in groups.items())
    return Table("Left alone", ("what", "reason"), rows)


def own_tables(stage: StageRecord) -> tuple[Table, ...]:
    """A stage's own tables: pruning steps, layers, parity."""
    return tuple(_own_table(name, rows) for name, rows in stage.tables.items() if rows)


def _own_table(name: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    notes = Notes()
    shown = SHOWN_OF.get(name, ROWS_SHOWN)
    columns = tuple(dict.fromkeys(key for row in rows for key in row))
    body = tuple(tuple(_json_cell(notes, key, row.get(key)) for key in columns) for row in rows[:shown])
    title = _words(name).capitalize()
    if len(rows) > shown:
        title = f"{title} (the first {shown} of {len(rows)} rows; record.json holds all)"
    return Table(title, tuple(map(_words, columns)), body, notes.sentences())


def _words(key: str) -> str:
    """A stage's own word for a column; not `quantity_label`, which names what is measured on test."""
    return key.replace("_", " ")


def _json_cell(notes: Notes, name: str, item: Any) -> Cell:
    """A cell of plain JSON; a written `Quantity` becomes one again."""
    if isinstance(item, Mapping) and "how" in item:
        try:
            return notes.cell(name, Quantity.model_validate(item))
        except ValidationError:
            return Cell(json.dumps(item, ensure_ascii=False))
    if item is None:
        return Cell("—")
    if isinstance(item, bool):
        return Cell("yes" if item else "no")
    if isinstance(item, float):
        return Cell(f"{item:.4g}".replace("-", "−") if abs(item) < 1e4 else f"{item:,.0f}")
    if isinstance(item, int):
        return Cell(f"{item:,}")
    return Cell(item if isinstance(item, str) else json.dumps(item, ensure_ascii=False))


def pairs_table(title: str, pairs: Mapping[str, str]) -> Table:
    """Names and values."""
    return Table(title, ("", "value"), tuple((Cell(name), Cell(text)) for name, text in pairs.items()))


def versions_table(record: RunRecord) -> Table:
    """Package versions; where stages differ, each with its stages."""
    found: dict[str, dict[str, list[str]]] = {}
    for stage in record.every_stage:
        for package, version in stage.versions.items():
            found.setdefault(package, {}).setdefault(version, []).append(str(stage.index))
    pairs = {
        package: next(iter(versions))
        if len(versions) == 1
        else "; ".join(f"{version} (stage {', '.join(stages)})" for version, stages in versions.items())
        for package, versions in sorted(found.items())
    }
    return pairs_table("Package versions", pairs)


def files_table(record: RunRecord) -> Table:
    """Every file that a stage left, with its SHA-256; those of a folder with many are counted."""
    rows = tuple(
        (Cell(f"{stage.index} · {stage.name}"), Cell(path), Cell(digest))
        for stage in record.every_stage
        for path, digest in _listed(stage.files).items()
    )
    return Table("Files and their SHA-256", ("stage", "file", "SHA-256"), rows)


def _listed(files: Mapping[str, str]) -> dict[str, str]:
    """Sums by path; a folder with more than `MANY` files is one entry."""
    counts = Counter(path.partition("/")[0] for path in files if "/" in path)
    found: dict[str, str] = {}
    for path, digest in files.items():
        folder = path.partition("/")[0]
        if counts[folder] > MANY:
            found[f"{folder}/"] = f"{counts[folder]} files, whose sums stand in record.json"
        else:
            found[path] = digest
    return found


def seeds_table(record: RunRecord) -> Table:
    """Seed, key, start and wall time of every stage."""
    rows = tuple(
        (
            Cell(f"{stage.index} · {stage.name}"),
            Cell(str(stage.seed)),
            Cell(stage.key),
            Cell(stage.parent_key or "—"),
            Cell(stage.started),
            Cell(format_duration(stage.wall_time_s)),
        )
        for stage in record.every_stage
    )
    return Table("Seeds and keys", ("stage", "seed", "key", "parent's key", "started", "took"), rows)
