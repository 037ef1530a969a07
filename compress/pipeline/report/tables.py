"""Tables of a whole run as plain rows, from records, without markup; also for the command line.

Every number has the sign of its provenance and refers to a note below its table on the measurement.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from compress.core.comparable_latency import LATENCY, latency_before, stage_metrics, teacher_metrics
from compress.core.comparable_tokens import is_comparable_with_teacher, own_tokens_remark
from compress.core.format_quantity import (
    format_change,
    format_provenance,
    is_difference,
    quantity_label,
)
from compress.core.language import gettext, joined
from compress.core.record import Metric, Metrics, Quantity, StageRecord
from compress.core.run_record import RunRecord
from compress.core.sentences.limits import allowed_words, explain, limit_words, result_words
from compress.core.sentences.names import network_words
from compress.core.verdict import Result
from compress.pipeline.report.outline import deciding_metric, metric_of
from compress.pipeline.report.table import Cell, Notes, Table, order_names

COLUMNS = ("size_bytes", "parameters", "macs", "latency_ms")
"""Quantities of the overview tables besides the deciding metric."""


class Network(NamedTuple):
    """A network of the overview.

    Attributes:
        key: Teacher, student (before compression), control (the student trained alone), distilled student, or artifact.
        title: Its words.
        metrics: What was measured.
    """

    key: Literal["teacher", "student", "control", "distilled", "artifact"]
    title: str
    metrics: Metrics


def final_metrics(record: RunRecord) -> Metrics:
    """Metrics of the artifact, which are those after the last stage."""
    return stage_metrics(record, record.stages[-1]) if record.stages else record.start


def reference_metrics(record: RunRecord) -> tuple[str, Metrics]:
    """Words and metrics of the reference: the teacher, or without a teacher the starting network."""
    if record.teacher is None:
        return network_words("start"), record.start
    return network_words("teacher"), teacher_metrics(record)


def control_of(record: RunRecord) -> tuple[StageRecord, Quantity] | None:
    """The stage that trained a control (the student without its teacher), and the deciding metric of the control."""
    name = f"control_{deciding_metric(record).name}"
    return next(((stage, stage.results[name]) for stage in record.stages if name in stage.results), None)


def result_cell(result: Result) -> Cell:
    """The result of a limit, in words and colour."""
    return Cell(result_words(result), tone=result.replace(" ", "-"))


def verdict_table(record: RunRecord) -> Table | None:
    """Every limit with the allowed and the measured value; None without a budget."""
    if record.verdict is None:
        return None
    notes = Notes(deciding_metric(record))
    rows = tuple(
        (
            Cell(limit_words(check)),
            Cell(allowed_words(check)),
            notes.cell(check.quantity_name, check.quantity, metric=metric_of(record, check.quantity_name)),
            result_cell(check.result),
            Cell(explain(check)),
        )
        for check in record.verdict.checks
    )
    header = (gettext("limit"), gettext("allowed"), gettext("measured"), gettext("result"), gettext("explanation"))
    return Table(gettext("Verdict"), header, rows, notes.sentences())


def overview(record: RunRecord) -> list[Network]:
    """Networks of the run, in order."""
    rows: list[Network] = []
    if record.teacher:
        rows.append(Network("teacher", *reference_metrics(record)))
    start = gettext("student before distillation") if record.teacher else network_words("start")
    rows.append(Network("student", start, record.start))
    if control := control_of(record):
        stage, value = control
        rows.append(Network("control", gettext("student trained alone"), {deciding_metric(record).name: value}))
        after = gettext("student after {stage}", stage=stage.name)
        rows.append(Network("distilled", after, stage_metrics(record, stage)))
    return [*rows, Network("artifact", network_words("artifact"), final_metrics(record))]


def summary_table(record: RunRecord) -> Table:
    """A row for teacher, student, control and artifact, with changes."""
    metric = deciding_metric(record)
    notes, columns = Notes(metric), (metric.name, *COLUMNS)
    name, reference = reference_metrics(record)
    rows = []
    for network in overview(record):
        cells = [notes.cell(column, network.metrics.get(column)) for column in columns]
        if network.key == "control":
            cells = [cells[0], *(Cell(gettext("same network")) for _ in COLUMNS)]
        rows.append((Cell(network.title), *cells))
    final = final_metrics(record)
    changes = (change_cell(record, column, reference.get(column), final.get(column)) for column in columns)
    rows.append((Cell(gettext("artifact against {reference}", reference=name)), *changes))
    header = ("", *(quantity_label(column, metric) for column in columns))
    return Table(gettext("Before and after"), header, tuple(rows), notes.sentences(), own_tokens_remark(record))


def change_cell(record: RunRecord, name: str, before: Quantity | None, after: Quantity | None) -> Cell:
    """The change of a quantity from the reference to the artifact."""
    if not is_comparable_with_teacher(record, name):
        return Cell(gettext("not comparable"))
    return Cell(format_change(before, after) or "—")


def summary_rows(record: RunRecord) -> list[list[str]]:
    """The table before and after for a terminal: a header row, then a row for each network; every number with its sign."""
    table = summary_table(record)

    def plain(cell: Cell) -> str:
        if cell.how in (None, "not measured"):
            return cell.text
        return f"{cell.text} {format_provenance(Quantity(unit='1', how=cell.how))[0]}"

    return [list(table.header), *([plain(cell) for cell in row] for row in table.rows)]


def _chain(record: RunRecord) -> list[tuple[str, Metrics, Metrics]]:
    """Name and metrics of the teacher, the start and every stage, and the metrics that they can be compared with."""
    compared: list[tuple[str, Metrics, Metrics]] = []
    if record.teacher:
        compared.append((f"0 · {network_words('teacher')}", teacher_metrics(record), {}))
    compared.append((gettext("start"), record.start, {}))
    for stage in record.stages:
        before = {name: quantity for name, quantity in stage.before.items() if name != LATENCY}
        before |= {LATENCY: latency} if (latency := latency_before(record, stage)) else {}
        compared.append((f"{stage.index} · {stage.name}", stage_metrics(record, stage), before))
    return compared


def direction(metric: Metric) -> str:
    """Which values of a metric are better, in words."""
    label = gettext(metric.label)
    higher = metric.higher_is_better
    return gettext("{metric}: higher is better", metric=label) if higher else gettext("{metric}: lower is better", metric=label)


def further_table(record: RunRecord) -> Table | None:
    """The other metrics of the task on test, with the change against the stage before, or None."""
    compared = _chain(record)
    shown = [metric for metric in record.further_metrics if any(metric.name in metrics for _, metrics, _ in compared)]
    if not shown:
        return None
    notes = Notes(deciding_metric(record))
    rows = tuple(
        (
            Cell(title),
            *(notes.cell(each.name, metrics.get(each.name), against=before.get(each.name), metric=each) for each in shown),
        )
        for title, metrics, before in compared
    )
    better = (direction(each) for each in shown)
    header = ("", *(quantity_label(each.name, each) for each in shown))
    remark = joined((*better, gettext("no decision of the run used them")))
    return Table(gettext("Other metrics"), header, rows, notes.sentences(), remarks=(remark,))


def chain_table(record: RunRecord) -> Table:
    """The metrics of every stage, with the change against the stage before."""
    metric = deciding_metric(record)
    notes, compared = Notes(metric), _chain(record)
    further = {f"{each.name}{suffix}" for each in record.further_metrics for suffix in ("", "_validation")}
    columns = order_names((name for _, metrics, _ in compared for name in metrics if name not in further), metric)

    def previous(before: Metrics, name: str) -> Quantity | None:
        return None if is_difference(name, metric) else before.get(name)  # a difference has no change

    rows = tuple(
        (Cell(title), *(notes.cell(name, metrics.get(name), against=previous(before, name)) for name in columns))
        for title, metrics, before in compared
    )
    header = (gettext("stage"), *(quantity_label(name, metric) for name in columns))
    return Table(gettext("Stage by stage"), header, rows, notes.sentences())
