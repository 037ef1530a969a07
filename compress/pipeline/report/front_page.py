"""Sections of the first page, which decides: limits, networks, devices, a picture, warnings, classes, rebuild, review.

Each is a row of the registry's family `report_front`. They fit on one printed page: what is longer is cut there, and the
sections behind have it whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from compress.core.comparable_tokens import own_tokens_remark
from compress.core.format_quantity import (
    difference_unit,
    format_duration,
    format_with_provenance,
    quantity_label,
)
from compress.core.language import gettext
from compress.core.printable import shorten
from compress.core.record import BenchmarkRow, Metrics, Quantity
from compress.core.run_record import RunRecord
from compress.core.sentences.limits import allowed_words, certainty, limit_words, result_words
from compress.core.sentences.report import headers, word
from compress.core.verdict import RESULTS_FROM_WORST, Check
from compress.pipeline.report import class_tables, tables
from compress.pipeline.report.benchmark_rows import ARTIFACT
from compress.pipeline.report.device_tables import artifact_by_device, artifact_row
from compress.pipeline.report.generation_rows import WRITING
from compress.pipeline.report.outline import (
    NOT_JUDGED,
    Pictures,
    Section,
    deciding_metric,
    is_budget_skipped,
    metric_of,
    sentence_start,
)
from compress.pipeline.report.review_points import review_points
from compress.pipeline.report.table import Cell, Notes, Table

LIMITS, DEVICES, POINTS = 7, 5, 4
"""Largest numbers of rows and items on the first page."""
CHARACTERS = 48
"""Longest name on the first page; the sections behind have it whole."""
REASON_CHARACTERS, CERTAINTY_CHARACTERS, POINTS_CHARACTERS = 150, 80, 480
ON_HOST = ("memory_bytes", "energy_j")
"""Quantities of the networks that a profile measures, besides those of the overview."""
ON_DEVICE = ("memory_bytes", "power_w", "energy_j")


def limits(record: RunRecord, pictures: Pictures) -> Iterator[Section]:  # noqa: ARG001
    """Every limit with its result, missed ones first."""
    title = word("front.limits")
    if is_budget_skipped(record) or record.verdict is None:
        text = gettext(NOT_JUDGED) if is_budget_skipped(record) else word("front.no_budget")
        yield Section(title, area="limits", paragraphs=(text,))
        return
    checks = sorted(record.verdict.checks, key=lambda check: RESULTS_FROM_WORST.index(check.result))
    notes = Notes(deciding_metric(record))
    rows = tuple(_limit_row(record, check, notes) for check in checks[:LIMITS])
    more = len(checks) - len(rows)
    remarks = (word("front.more_limits", count=more, section=gettext("Verdict")),) if more else ()
    yield Section(
        title,
        area="limits",
        tables=(Table(title, headers("front.header.limits"), rows, notes.sentences(), remarks),),
    )


def _limit_row(record: RunRecord, check: Check, notes: Notes) -> tuple[Cell, ...]:
    return (
        Cell(shorten(limit_words(check), CHARACTERS)),
        Cell(shorten(allowed_words(check), 24)),
        notes.cell(check.quantity_name, check.quantity, metric=metric_of(record, check.quantity_name)),
        tables.result_cell(check.result),
        Cell(shorten(certainty(check), CERTAINTY_CHARACTERS)),
    )


def networks(record: RunRecord, pictures: Pictures) -> Iterator[Section]:  # noqa: ARG001
    """Teacher, student and artifact: metric, size, latency, memory and energy on this machine."""
    metric = deciding_metric(record)
    local = _local_rows(record)
    notes = Notes(metric)
    writing = tuple(name for name in WRITING if any(name in row.quantities for row in local.values()))
    on_host = (*writing, *ON_HOST)
    columns = (metric.name, "size_bytes", *(() if writing else ("latency_ms",)), *on_host)
    name, reference = tables.reference_metrics(record)
    rows = []
    for network in tables.overview(record):
        metrics = network.metrics
        is_measured = any(metrics[each].value is not None for each in (metric.name, "size_bytes") if each in metrics)
        if network.key == "control" or not is_measured:
            continue  # the control, and fresh weights, are in the sections behind
        row = local.get(_profiled(record, network.key))
        measured = dict(metrics) | ({key: row.quantities[key] for key in on_host if key in row.quantities} if row else {})
        rows.append(
            (Cell(shorten(network.title, CHARACTERS)), *(notes.cell(column, measured.get(column)) for column in columns))
        )
    rows.append((Cell(gettext("artifact against {reference}", reference=name)), *_changes(record, reference, columns, local)))
    header = ("", *(quantity_label(column, metric) for column in columns))
    title = word("front.networks")
    table = _folded(Table(title, header, tuple(rows), notes.sentences(), own_tokens_remark(record)))
    yield Section(title, area="networks", paragraphs=_change(record), tables=(table,))


def _profiled(record: RunRecord, key: str) -> str:
    """Name in a profile of a network of the overview: of a run with a teacher, the student is the one after distillation."""
    return "" if key == "student" and record.teacher else key


def _folded(table: Table) -> Table:
    """The table with its unmeasured rows and columns as lines, whose reasons are short."""
    folded = table.fold()
    return replace(folded, folded=tuple((names, shorten(reason, REASON_CHARACTERS)) for names, reason in folded.folded))


def _changes(
    record: RunRecord, reference: Metrics, columns: Sequence[str], local: Mapping[str, BenchmarkRow]
) -> Iterator[Cell]:
    """The change of each quantity from the reference to the artifact."""
    final = tables.final_metrics(record)
    first, last = local.get("teacher") or local.get("student"), local.get(ARTIFACT)
    for column in columns:
        before, after = reference.get(column), final.get(column)
        if column in (*WRITING, *ON_HOST):
            before, after = (row.quantities.get(column) if row else None for row in (first, last))
        yield tables.change_cell(record, column, before, after)


def _change(record: RunRecord) -> tuple[str, ...]:
    """How the deciding metric changed on the same samples, and whether that is more than chance."""
    metric = deciding_metric(record)
    loss = tables.final_metrics(record).get(metric.loss_name)
    if loss is None or loss.value is None:
        return ()
    sign = -1 if metric.higher_is_better else 1
    ends = sorted(sign * end for end in (loss.low, loss.high) if end is not None)
    low, high = ends if len(ends) == 2 else (None, None)
    change = loss.model_copy(update={"value": sign * loss.value, "low": low, "high": high})
    result = "no_interval"
    if loss.low is not None and loss.high is not None:
        result = "worse" if loss.low > 0 else "better" if loss.high < 0 else "unclear"
    value = f"{'+' if (change.value or 0.0) > 0 else ''}{format_with_provenance(change, difference_unit(metric.unit))}"
    name = tables.reference_metrics(record)[0]
    words = word(f"front.change.{result}")
    return (word("front.change", metric=sentence_start(gettext(metric.label)), reference=name, value=value, result=words),)


def _local_rows(record: RunRecord) -> dict[str, BenchmarkRow]:
    """Rows of the first device that is this machine, by network."""
    for rows in artifact_by_device(record).values():
        if rows[0].local or rows[0].device == "host":
            return {row.subject: row for row in rows}
    return {}


def devices(record: RunRecord, pictures: Pictures) -> Iterator[Section]:  # noqa: ARG001
    """The artifact on each device: latency with its limit, memory, power, energy, and the runtime.

    Of networks that write texts also the time to first token and the tokens per second.
    """
    metric, groups = deciding_metric(record), artifact_by_device(record)
    if not groups:
        return
    shipped = [artifact_row(rows) for rows in groups.values()]
    writing = tuple(name for name in WRITING if any(name in row.quantities for row in shipped))
    notes = Notes(metric)
    rows = []
    for device, benchmark in list(groups.items())[:DEVICES]:
        row = artifact_row(benchmark)
        check = _latency_check(record, row)
        rows.append(
            (
                Cell(shorten(device, CHARACTERS)),
                *(notes.cell(name, row.quantities.get(name, _not_written(row))) for name in writing),
                notes.cell(row.latency_name, row.quantities.get(row.latency_name)),
                Cell(f"{allowed_words(check)}: {result_words(check.result)}", tone=_tone(check)) if check else _no_limit(row),
                *(notes.cell(name, row.quantities.get(name)) for name in ON_DEVICE),
                Cell(shorten(row.runtime, 28)),
            )
        )
    named = (quantity_label(name, metric) for name in ON_DEVICE)
    spoken = (quantity_label(name, metric) for name in writing)
    latency = word("front.header.run") if writing else word("front.header.latency")
    first = (word("front.header.device"), *spoken, latency, word("front.header.limit"))
    header = (*first, *named, word("front.header.runtime"))
    more = len(groups) - len(rows)
    remarks = (word("front.more_devices", count=more, section=gettext("Devices")),) if more else ()
    title = word("front.devices")
    table = _folded(Table(title, header, tuple(rows), notes.sentences(), remarks))
    yield Section(title, area="devices", tables=(table,))


def _not_written(row: BenchmarkRow) -> Quantity:
    """In place of the times of prompts and tokens on a device where they are neither measured nor estimated."""
    return Quantity.missing(
        "1", gettext("prompts and further tokens are measured on this machine alone, not on {device}", device=row.device)
    )


def _tone(check: Check) -> str:
    return check.result.replace(" ", "-")


def _no_limit(row: BenchmarkRow) -> Cell:
    if row.other_hardware:
        return Cell(shorten(word("front.changed_device", hardware=row.other_hardware), CHARACTERS))
    return Cell(word("front.no_limit"))


def _latency_check(record: RunRecord, row: BenchmarkRow) -> Check | None:
    """The limit on the latency of a device; older records name the device in the text of the limit only."""
    for check in record.verdict.checks if record.verdict and not record.smoke else ():
        is_latency = check.quantity_name.startswith("latency") or check.limit.startswith("latency on ")
        if is_latency and (check.device == row.device or check.limit.startswith(f"latency on {row.device},")):
            return check
    return None


def picture(record: RunRecord, pictures: Pictures) -> Iterator[Section]:
    """The metric against the latency."""
    if shown := pictures.get("front"):
        metric = sentence_start(gettext(deciding_metric(record).label))
        yield Section(word("front.picture", metric=metric), area="picture", pictures=shown[:1])


def points(record: RunRecord, pictures: Pictures) -> Iterator[Section]:  # noqa: ARG001
    """The first warnings of the run."""
    if record.smoke:
        return
    every = review_points(record)
    characters = POINTS_CHARACTERS // max(1, min(len(every), POINTS))
    items = [shorten(point, characters) for point in every[:POINTS]]
    if len(every) > POINTS:
        items.append(word("front.more_points", count=len(every) - POINTS, section=gettext("Points for review")))
    yield Section(
        word("front.points"), area="points", paragraphs=() if items else (word("front.no_points"),), items=tuple(items)
    )


def classes(record: RunRecord, pictures: Pictures) -> Iterator[Section]:  # noqa: ARG001
    """The classes that lost most, in sentences."""
    yield Section(word("front.classes"), area="classes", paragraphs=class_tables.summary(record))


def rebuild(record: RunRecord, pictures: Pictures) -> Iterator[Section]:  # noqa: ARG001
    """The command, and what decides its result."""
    about = record.environment
    packages = ("compress", "python", "torch", "onnxruntime")
    inputs = word(
        "rebuild.inputs.text",
        data=shorten(str(record.data.get("source", "—")), CHARACTERS),
        seed=record.recipe.get("seed", "—"),
        took=format_duration(record.wall_time_s),
    )
    versions = ", ".join(f"{name} {about[name]}" for name in packages if name in about)
    machine = about.get("processor") or about.get("cpu", "")
    rows = {
        "rebuild.command": word("rebuild.command.text"),
        "rebuild.inputs": inputs,
        "rebuild.machine": shorten(f"{versions}; {machine}" if versions and machine else versions or machine or "—", 150),
        **_artifact(record),
    }
    title = word("front.rebuild")
    table = Table(title, ("", ""), tuple((Cell(word(key)), Cell(text)) for key, text in rows.items()))
    yield Section(title, area="rebuild", tables=(table,))


def _artifact(record: RunRecord) -> dict[str, str]:
    """Name and start of the hash of the file that ships, preferably for this machine; empty where no stage has one."""
    for stage in reversed(record.stages):
        files = [path for path in stage.files if path.startswith("artifacts/") and path.endswith((".onnx", ".xml"))]
        for path in sorted(files, key=lambda path: not path.startswith("artifacts/host/"))[:1]:
            text = word("rebuild.artifact.text", path=shorten(path, CHARACTERS), digest=stage.files[path][:16])
            return {"rebuild.artifact": text}
    return {}


def review(record: RunRecord, pictures: Pictures) -> Iterator[Section]:  # noqa: ARG001
    """The block that the reviewer fills in; its form is that of the page."""
    yield Section(word("front.review"), area="review")
