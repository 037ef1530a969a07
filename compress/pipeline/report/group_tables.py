"""Table and sentence of the groups of test samples in the reference and in the artifact."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from compress.core.bootstrap import LEAST_SAMPLES
from compress.core.format_quantity import difference_unit, format_interval, format_quantity
from compress.core.language import gettext
from compress.core.printable import shorten
from compress.core.record import Quantity
from compress.core.run_record import RunRecord
from compress.core.sentences.names import network_words
from compress.core.sentences.report import headers, word
from compress.pipeline.compare_groups import GROUPS
from compress.pipeline.report.outline import deciding_metric, sentence_start
from compress.pipeline.report.table import Cell, Notes, Table

NAME_CHARACTERS = 48
"""Longest name of a group in a sentence."""


class GroupChange(NamedTuple):
    """The deciding metric of one group.

    Attributes:
        name: Of the group.
        samples: Number of its test samples.
        before: Of the reference; None without one.
        after: Of the artifact.
        change: `after` less `before`, with its paired interval; None without a reference.
    """

    name: str
    samples: int
    before: Quantity | None
    after: Quantity
    change: Quantity | None


def groups_of(record: RunRecord) -> tuple[GroupChange, ...]:
    """The groups of the last stage that has some, which is that of the artifact."""
    recorded = [stage.tables[GROUPS] for stage in record.stages if stage.tables.get(GROUPS)]
    return tuple(
        GroupChange(
            str(row.get("group", "")),
            int(str(row.get("samples", 0))),
            _quantity(row.get("before")),
            _quantity(row.get("after")) or Quantity.missing("1", ""),
            _quantity(row.get("change")),
        )
        for row in (recorded[-1] if recorded else ())
    )


def _quantity(entry: object) -> Quantity | None:
    return Quantity.model_validate(entry) if isinstance(entry, Mapping) else None


def group_table(record: RunRecord) -> Table | None:
    """The deciding metric of each group, the largest loss first; None for data without groups."""
    groups, metric = groups_of(record), deciding_metric(record)
    if not groups:
        return None
    notes = Notes(metric)
    rows = tuple(
        (
            Cell(each.name),
            Cell(word("groups.few", samples=each.samples) if _is_small(each) else f"{each.samples:,}", key=each.samples),
            notes.cell(metric.name, each.before),
            notes.cell(metric.name, each.after),
            notes.cell(metric.loss_name, each.change),
        )
        for each in groups
    )
    label = sentence_start(gettext(metric.label))
    header = headers("groups.header", label=label, reference=_reference(record))
    remarks = (word("groups.text", least=LEAST_SAMPLES),)
    return Table(word("groups.title", label=label), header, rows, notes.sentences(), remarks).fold()


def group_points(record: RunRecord) -> tuple[str, ...]:
    """The group with the largest loss in a sentence, where the interval of its change excludes 0."""
    groups, metric = groups_of(record), deciding_metric(record)
    changes = [(metric.gain(0.0, each.change.value), each) for each in groups if each.change and each.change.value is not None]
    if not changes:
        return ()
    gain, worst = min(changes, key=lambda pair: pair[0])
    change = worst.change
    if change is None or change.low is None or change.high is None or gain >= 0 or change.low <= 0 <= change.high:
        return ()
    unit = difference_unit(metric.unit)
    return (
        word(
            "groups.worst",
            label=sentence_start(gettext(metric.label)),
            group=shorten(worst.name, NAME_CHARACTERS),
            reference=_reference(record),
            change=f"{format_quantity(change, unit)} ({format_interval(change, unit)})",
            samples=word("groups.few", samples=worst.samples) if _is_small(worst) else f"{worst.samples:,}",
            count=len(changes),
        ),
    )


def _is_small(each: GroupChange) -> bool:
    return each.samples < LEAST_SAMPLES


def _reference(record: RunRecord) -> str:
    return network_words(record.reference or ("teacher" if record.teacher else "start"))
