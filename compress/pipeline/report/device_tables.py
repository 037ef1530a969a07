"""Tables of devices: the artifact on all devices side by side, and teacher, student and artifact on each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from compress.core.format_quantity import format_change, quantity_label
from compress.core.language import gettext
from compress.core.record import BenchmarkRow, Metric
from compress.core.run_record import RunRecord
from compress.core.sentences.names import network_words
from compress.core.sentences.report import word
from compress.pipeline.report.benchmark_rows import ARTIFACT, benchmark_rows
from compress.pipeline.report.outline import deciding_metric
from compress.pipeline.report.table import Cell, Notes, Table, order_names

COLUMNS = 5
"""Largest number of devices side by side in one table."""
Devices = Mapping[str, tuple[BenchmarkRow, ...]]


def rows_by_device(record: RunRecord) -> dict[str, tuple[BenchmarkRow, ...]]:
    """Rows of each device; where several stages profiled it, each stage has its own."""
    groups: dict[tuple[int, str], list[BenchmarkRow]] = {}
    for stage, row in benchmark_rows(record):
        groups.setdefault((stage.index, row.device), []).append(row)
    several = len({index for index, _ in groups}) > 1
    return {
        gettext("{device} (stage {index})", device=device, index=index) if several else device: tuple(rows)
        for (index, device), rows in groups.items()
    }


def artifact_by_device(record: RunRecord) -> dict[str, tuple[BenchmarkRow, ...]]:
    """Rows of each device on which the artifact was profiled; where several stages did, those of the last one."""
    groups: dict[tuple[str, int], list[BenchmarkRow]] = {}
    for stage, row in benchmark_rows(record):
        groups.setdefault((row.device, stage.index), []).append(row)
    return {device: tuple(rows) for (device, _), rows in groups.items() if any(row.subject == ARTIFACT for row in rows)}


def artifact_row(rows: Sequence[BenchmarkRow]) -> BenchmarkRow:
    """The row of the artifact."""
    return next(row for row in reversed(rows) if row.subject == ARTIFACT)


def device_tables(record: RunRecord) -> tuple[Table, ...]:
    """The artifact on all devices, if there are several; then a table for each device, which pages show side by side."""
    metric, shipped = deciding_metric(record), artifact_by_device(record)
    shared = artifact_tables(shipped, metric) if len(shipped) > 1 else ()
    return (*shared, *(_device_table(device, rows, metric) for device, rows in rows_by_device(record).items()))


def artifact_tables(devices: Devices, metric: Metric) -> tuple[Table, ...]:
    """A row for each quantity of the artifact and a column for each device, `COLUMNS` devices in each table."""
    names = tuple(devices)
    parts = [{name: devices[name] for name in names[start : start + COLUMNS]} for start in range(0, len(names), COLUMNS)]
    titles = (
        word("devices.part", part=number, parts=len(parts)) if len(parts) > 1 else word("devices.artifact")
        for number in range(1, len(parts) + 1)
    )
    return tuple(_artifact_table(title, part, metric) for title, part in zip(titles, parts, strict=True))


def _artifact_table(title: str, devices: Devices, metric: Metric) -> Table:
    """The part of `artifact_tables` for some devices, with the change against the first network on each."""
    notes = Notes(metric)
    pairs = {device: (rows[0], artifact_row(rows)) for device, rows in devices.items()}
    rows = [(Cell(gettext("runtime")), *(Cell(artifact.runtime) for _, artifact in pairs.values()))]
    for name in order_names((name for _, artifact in pairs.values() for name in artifact.quantities), metric):
        cells = [
            notes.cell(
                name, artifact.quantities.get(name), against=first.quantities.get(name) if first is not artifact else None
            )
            for first, artifact in pairs.values()
        ]
        rows.append((Cell(quantity_label(name, metric)), *cells))
    first = next(iter(pairs.values()))[0].subject
    remarks = (word("devices.change", subject=network_words(first)),) if first != ARTIFACT else ()
    return Table(title, ("", *pairs), tuple(rows), notes.sentences(), remarks).fold()


def _device_table(title: str, networks: Sequence[BenchmarkRow], metric: Metric) -> Table:
    notes = Notes(metric)
    first, last = networks[0], networks[-1]
    comparable = len(networks) > 1
    blank = (Cell(""),) * comparable
    rows = [(Cell(gettext("runtime")), *(Cell(network.runtime) for network in networks), *blank)]
    if len({network.file for network in networks}) > 1:
        rows.append((Cell(gettext("file")), *(Cell(network.file) for network in networks), *blank))
    names = order_names((name for network in networks for name in network.quantities), metric)
    for name in sorted(names, key=lambda name: name != last.latency_name):  # the latency with limits comes first
        cells = [notes.cell(name, network.quantities.get(name)) for network in networks]
        change = format_change(first.quantities.get(name), last.quantities.get(name)) or "—"
        rows.append((Cell(quantity_label(name, metric)), *cells, *((Cell(change),) * comparable)))
    names = network_words(last.subject), network_words(first.subject)
    against = (gettext("{network} against {reference}", network=names[0], reference=names[1]),) if comparable else ()
    header = ("", *(network_words(network.subject) for network in networks), *against)
    return Table(title, header, tuple(rows), notes.sentences(), beside=True).fold()
