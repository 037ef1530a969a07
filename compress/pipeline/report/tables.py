"""Tables of a whole run as plain rows, from records, without markup; also for the command line.

Every number has the sign of its provenance and refers to a note below its table on the measurement.
"""

from __future__ import annotations

from compress.core.comparable_latency import LATENCY, latency_before, stage_metrics, teacher_metrics
from compress.core.format_quantity import (
    format_change,
    format_provenance,
    is_difference,
    quantity_label,
)
from compress.core.record import Metrics, Quantity, StageRecord
from compress.core.run_record import RunRecord
from compress.core.sentences.limits import RESULT_WORDS, allowed_words, explain, limit_words
from compress.core.verdict import Result
from compress.pipeline.report.outline import deciding_metric, metric_of
from compress.pipeline.report.table import Cell, Notes, Table, order_names

COLUMNS = ("size_bytes", "parameters", "macs", "latency_ms")
"""Quantities of the overview tables besides the deciding metric."""


def final_metrics(record: RunRecord) -> Metrics:
    """Metrics of the artifact, which are those after the last stage."""
    return stage_metrics(record, record.stages[-1]) if record.stages else record.start


def reference_metrics(record: RunRecord) -> tuple[str, Metrics]:
    """Name and metrics of the reference: the teacher, or without a teacher the starting network."""
    if record.teacher is None:
        return "starting network", record.start
    return "teacher", teacher_metrics(record)


def control_of(record: RunRecord) -> tuple[StageRecord, Quantity] | None:
    """The stage that trained a control (the student without its teacher), and the deciding metric of the control."""
    name = f"control_{deciding_metric(record).name}"
    return next(((stage, stage.results[name]) for stage in record.stages if name in stage.results), None)


def result_cell(result: Result) -> Cell:
    """The result of a limit, in words and colour."""
    return Cell(RESULT_WORDS[result], tone=result.replace(" ", "-"))


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
    return Table("Verdict", ("limit", "allowed", "measured", "result", "explanation"), rows, notes.sentences())


def overview(record: RunRecord) -> list[tuple[str, Metrics, bool]]:
    """Networks of the run: name, metrics, and whether it is the control."""
    rows: list[tuple[str, Metrics, bool]] = []
    if record.teacher:
        rows.append((*reference_metrics(record), False))
    rows.append(("student before distillation" if record.teacher else "starting network", record.start, False))
    if control := control_of(record):
        stage, value = control
        rows.append(("student trained alone", {deciding_metric(record).name: value}, True))
        rows.append((f"student after {stage.name}", stage_metrics(record, stage), False))
    rows.append(("artifact", final_metrics(record), False))
    return rows


def summary_table(record: RunRecord) -> Table:
    """A row for teacher, student, control and artifact, with changes."""
    metric = deciding_metric(record)
    notes, columns = Notes(metric), (metric.name, *COLUMNS)
    name, reference = reference_metrics(record)
    rows = []
    for title, metrics, is_control in overview(record):
        cells = [notes.cell(column, metrics.get(column)) for column in columns]
        if is_control:
            cells = [cells[0], *(Cell("same network") for _ in COLUMNS)]
        rows.append((Cell(title), *cells))
    final = final_metrics(record)
    changes = (Cell(format_change(reference.get(column), final.get(column)) or "—") for column in columns)
    rows.append((Cell(f"artifact against {name}"), *changes))
    header = ("", *(quantity_label(column, metric) for column in columns))
    return Table("Before and after", header, tuple(rows), notes.sentences())


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
        compared.append(("0 · teacher", teacher_metrics(record), {}))
    compared.append(("start", record.start, {}))
    for stage in record.stages:
        before = {name: quantity for name, quantity in stage.before.items() if name != LATENCY}
        before |= {LATENCY: latency} if (latency := latency_before(record, stage)) else {}
        compared.append((f"{stage.index} · {stage.name}", stage_metrics(record, stage), before))
    return compared


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
    better = (f"{each.label}: {'higher' if each.higher_is_better else 'lower'} is better" for each in shown)
    header = ("", *(quantity_label(each.name, each) for each in shown))
    remark = f"{'; '.join(better)}; no decision of the run used them"
    return Table("Other metrics", header, rows, notes.sentences(), remarks=(remark,))


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
    header = ("stage", *(quantity_label(name, metric) for name in columns))
    return Table("Stage by stage", header, rows, notes.sentences())
