"""Tables and sentences of the classes in the reference and in the artifact: recall, F1, confusions, disagreements."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from compress.core.class_comparison import ClassChange, ClassComparison, ConfusionChange, Disagreement
from compress.core.entries import Row
from compress.core.format_quantity import format_interval, format_quantity, format_value, quantity_label
from compress.core.language import MINUS, joined
from compress.core.printable import shorten
from compress.core.record import Quantity, StageRecord
from compress.core.run_record import RunRecord
from compress.core.sentences.names import network_words
from compress.core.sentences.report import headers, word
from compress.pipeline.report.outline import deciding_metric
from compress.pipeline.report.table import Cell, Notes, Table

SMALLEST_P = 0.0001
"""Smallest p-value that is written as a number."""
CLASSES = "classes"
"""Name of the table of `compress.tasks.class_results`."""
WORST, NAME_CHARACTERS = 3, 24
"""Number of classes that the first page names, and the longest name there."""


def comparison_of(record: RunRecord) -> tuple[StageRecord, ClassComparison] | None:
    """The comparison of the last stage that has one, which is that of the artifact, and the stage; or None."""
    for stage in reversed(record.stages):
        if stage.class_comparison is not None:
            return stage, stage.class_comparison
    return None


def summary(record: RunRecord) -> tuple[str, ...]:
    """Which classes lost most, and on how many samples the networks differ, in sentences."""
    stage = comparison_of(record)
    if stage is None:
        return _summary_of_metric(record)
    comparison = stage[1]
    worst = [each for each in comparison.classes if each.recall < each.recall_before][:WORST]
    named = joined(word("classes.part", title=shorten(each.name, NAME_CHARACTERS), part=_change(each)) for each in worst)
    losses = word("classes.named", title=word("classes.worst"), names=named) if worst else word("classes.no_loss")
    return (losses, *tests(comparison))


class ClassMetric(NamedTuple):
    """The metric of one class in the reference and in the artifact.

    Attributes:
        name: Of the class.
        label: Key of the metric in the record.
        samples: Number of test samples with the class.
        before: Of the reference; None where it recorded none.
        after: Of the artifact.
    """

    name: str
    label: str
    samples: int
    before: Quantity | None
    after: Quantity


def class_metrics(record: RunRecord) -> tuple[ClassMetric, ...]:
    """The metric of each class where the task measures one, such as the IoU, the largest losses first."""
    recorded = [stage.tables[CLASSES] for stage in record.stages if CLASSES in stage.tables]
    reference = _by_class(record.teacher.tables.get(CLASSES, ()) if record.teacher else ())
    metrics = [
        ClassMetric(name, label, samples, reference[name][2] if name in reference else None, after)
        for name, (label, samples, after) in _by_class(recorded[-1] if recorded else ()).items()
    ]
    return tuple(sorted(metrics, key=_change_of))


def _by_class(rows: Sequence[Row]) -> dict[str, tuple[str, int, Quantity]]:
    """Label of the metric, samples and value by class, from a table of `class_results`."""
    values: dict[str, tuple[str, int, Quantity]] = {}
    for row in rows:
        for label, item in row.items():
            samples = row.get("samples")
            if isinstance(item, Mapping) and "how" in item and isinstance(samples, int):
                values[str(row.get("class", ""))] = label, samples, Quantity.model_validate(item)
    return values


def _change_of(each: ClassMetric) -> float:
    """The change of a class; the value itself without a reference."""
    before = each.before.value if each.before and each.before.value is not None else 0.0
    return (each.after.value or 0.0) - before


def _summary_of_metric(record: RunRecord) -> tuple[str, ...]:
    """The classes whose metric lost most, or is lowest where there is no reference, in a sentence."""
    metrics = [each for each in class_metrics(record) if each.after.value is not None]
    if not metrics:
        return (word("classes.none"),)
    label = quantity_label(metrics[0].label)
    compared = [each for each in metrics if each.before is not None and each.before.value is not None]
    if not compared:
        named = joined(_named(each, format_quantity(each.after)) for each in metrics[:WORST])
        return (word("classes.named", title=word("classes.lowest", label=label), names=named),)
    worst = [each for each in compared if _change_of(each) < 0][:WORST]
    named = joined(
        _named(each, f"{format_quantity(each.before or each.after)} → {format_quantity(each.after)}") for each in worst
    )
    losses = word("classes.named", title=word("classes.worst_metric", label=label), names=named)
    return (losses if worst else word("classes.no_metric_loss", label=label), word("classes.no_interval"))


def _named(each: ClassMetric, value: str) -> str:
    return word("classes.part", title=shorten(each.name, NAME_CHARACTERS), part=value)


def metric_table(record: RunRecord) -> Table | None:
    """The metric of each class in the reference and the artifact, or None where the task measures none."""
    metrics = class_metrics(record)
    if not metrics:
        return None
    notes = Notes(deciding_metric(record))
    rows = tuple(
        (
            Cell(each.name),
            Cell(f"{each.samples:,}", key=each.samples),
            notes.cell(each.label, each.before),
            notes.cell(each.label, each.after, against=each.before),
        )
        for each in metrics
    )
    name = network_words("teacher") if record.teacher else ""
    label = quantity_label(metrics[0].label)
    header = headers("classes.metric.header", label=label, reference=name)
    return Table(word("classes.metric", label=label), header, rows, notes.sentences()).fold()


def _change(each: ClassChange) -> str:
    loss = Quantity.measured(each.recall - each.recall_before, "fraction", interval=(each.low, each.high))
    before, after = (format_value(value, "fraction") for value in (each.recall_before, each.recall))
    return f"{before} → {after} ({format_interval(loss, 'points')})"


def tests(comparison: ClassComparison) -> tuple[str, ...]:
    """Agreement, and the paired test, in sentences."""
    interval = (comparison.equal_low, comparison.equal_high)
    reference = network_words(comparison.reference)
    share = Quantity.measured(comparison.equal, "fraction", interval=interval)
    value = f"{format_quantity(share)} ({format_interval(share)})"
    return (
        word("classes.agreement", reference=reference, value=value, samples=comparison.samples),
        word(
            "classes.pairs",
            worse=comparison.only_reference,
            better=comparison.only_network,
            reference=reference,
            p=f"= {comparison.p_value:.2g}" if comparison.p_value >= SMALLEST_P else f"< {SMALLEST_P:g}",
        ),
    )


def class_tables(comparison: ClassComparison) -> Iterator[Table]:
    """Recall and F1 of each class, the confusions that changed most, and the disagreements."""
    reference = network_words(comparison.reference)
    title = word("classes.table")
    if len(comparison.classes) < comparison.class_count:
        shown = word("classes.shown", shown=len(comparison.classes), total=comparison.class_count)
        title = word("classes.part", title=title, part=shown)
    yield Table(title, headers("classes.header", reference=reference), tuple(map(_class_row, comparison.classes)))
    if comparison.confusions:
        rows = tuple(map(_confusion_row, comparison.confusions))
        yield Table(word("classes.confusions"), headers("classes.confusions.header", reference=reference), rows)
    if comparison.disagreements:
        title = word("classes.disagreements", reference=reference)
        if len(comparison.disagreements) < comparison.disagreement_count:
            counted = word(
                "classes.disagreements.shown",
                shown=len(comparison.disagreements),
                total=comparison.disagreement_count,
                reference=reference,
            )
            title = word("classes.part", title=title, part=counted)
        has_texts = any(each.text for each in comparison.disagreements)
        columns = (
            headers("classes.disagreements.header.texts", reference=reference)
            if has_texts
            else headers("classes.disagreements.header", reference=reference)
        )
        rows = tuple(_sample_row(each, reference, has_texts=has_texts) for each in comparison.disagreements)
        yield Table(title, columns, rows)


def _class_row(each: ClassChange) -> tuple[Cell, ...]:
    change = Quantity.measured(each.recall - each.recall_before, "fraction", interval=(each.low, each.high))
    return (
        Cell(each.name),
        Cell(f"{each.samples:,}", key=each.samples),
        _share(each.recall_before),
        _share(each.recall),
        Cell(format_quantity(change, "points"), "measured", format_interval(change, "points"), key=change.value),
        _share(each.f1_before),
        _share(each.f1),
    )


def _confusion_row(each: ConfusionChange) -> tuple[Cell, ...]:
    change = each.count - each.before
    counts = (Cell(f"{count:,}", key=count) for count in (each.before, each.count))
    return (Cell(each.name), Cell(each.predicted), *counts, Cell(f"{change:+,}".replace("-", MINUS), key=change))


def _share(value: float | None) -> Cell:
    return Cell("—") if value is None else Cell(format_value(value, "fraction"), "measured", key=value)


def _sample_row(each: Disagreement, reference: str, *, has_texts: bool) -> tuple[Cell, ...]:
    right = reference if each.before == each.name else network_words("artifact") if each.predicted == each.name else ""
    return (
        Cell(str(each.sample), key=each.sample),
        *([Cell(each.text)] if has_texts else ()),
        Cell(each.name),
        Cell(each.before),
        _share(each.before_confidence),
        Cell(each.predicted),
        _share(each.confidence),
        Cell(right or word("classes.both_wrong")),
    )
