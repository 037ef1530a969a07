"""Index of all runs below a folder, in SQLite: what `compress history` shows, without reading every record each time.

The records are the truth. A row is read anew where the size or the time of its record changed, and the index can be deleted at
any time.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from compress import __version__
from compress.core.errors import CompressError, StoreError
from compress.core.language import gettext
from compress.core.latest_run import records_below
from compress.core.record import Quantity
from compress.core.run_record import RunRecord
from compress.core.sentences.limits import RESULT_WORDS
from compress.pipeline.read_record import read_record
from compress.pipeline.report.outline import deciding_metric
from compress.pipeline.report.tables import final_metrics
from compress.pipeline.review.judge_record import shipped_rows

INDEX = Path(".cache") / "history.sqlite"
"""Place of the index below the folder of all runs."""
SMOKE, NO_BUDGET = "toy size", "no budget"
"""Results without a verdict."""


@dataclass(frozen=True)
class RunRow:
    """One run as the history shows it.

    Attributes:
        path: Run directory, relative to the folder of all runs.
        name: Of the recipe.
        started: ISO 8601 in UTC.
        took_s: Wall time of the run.
        result: Verdict in words; `no budget` or `toy size` where there is none.
        metric: Label of the deciding metric.
        unit: Its unit.
        higher_is_better: Its direction.
        value: On test, of what ships; None where it was not measured.
        low: Lower end of its 95 % interval.
        high: Upper end.
        size_bytes: Of the file that ships.
        latency_ms: Median of the artifact on each device that was measured, as JSON, by device.
        stages: Names of the stages.
        fault: Why the record cannot be read; empty where it can.
    """

    path: str
    name: str = ""
    started: str = ""
    took_s: float | None = None
    result: str = ""
    metric: str = ""
    unit: str = ""
    higher_is_better: bool = True
    value: float | None = None
    low: float | None = None
    high: float | None = None
    size_bytes: float | None = None
    latency_ms: str = "{}"
    stages: str = ""
    fault: str = ""

    @property
    def latencies(self) -> dict[str, float]:
        """Median latency by device, ms."""
        return {str(device): float(value) for device, value in json.loads(self.latency_ms).items()}


COLUMNS = tuple(field.name for field in fields(RunRow))


def read_runs(folder: Path, *, rebuild: bool = False) -> tuple[RunRow, ...]:
    """All runs below a folder, the latest first, from the index; it is brought up to date first.

    Args:
        folder: Folder of all runs, as given to `--out`.
        rebuild: Whether to read every record again.

    Raises:
        StoreError: The folder is not there, or the index cannot be written.
    """
    if not folder.is_dir():
        raise StoreError(
            gettext("no folder {folder}; give the folder of all runs, as in --out (default: reports)", folder=folder)
        )
    index = folder / INDEX
    try:
        index.parent.mkdir(exist_ok=True)
        if rebuild:
            index.unlink(missing_ok=True)
        try:
            return _update(index, folder)
        except sqlite3.DatabaseError:  # damaged, or of another version: it holds nothing that the records do not
            index.unlink(missing_ok=True)
            return _update(index, folder)
    except (OSError, sqlite3.Error) as error:
        raise StoreError(gettext("cannot write the index {index}: {error}", index=index, error=error)) from error


def _update(index: Path, folder: Path) -> tuple[RunRow, ...]:
    with closing(sqlite3.connect(index)) as database, database:
        columns = ", ".join(COLUMNS)
        database.execute(f"CREATE TABLE IF NOT EXISTS runs (stamp TEXT NOT NULL, {columns}, PRIMARY KEY (path))")
        known = dict(database.execute("SELECT path, stamp FROM runs"))
        present = {record.parent.relative_to(folder).as_posix(): record for record in records_below(folder)}
        database.executemany("DELETE FROM runs WHERE path = ?", [(path,) for path in known.keys() - present.keys()])
        for path, record in present.items():
            stamp = _stamp(record)
            if known.get(path) != stamp:
                read = _read(record, path)
                row = tuple(asdict(read).values())
                stamp = "" if read.fault else stamp  # its text is in one language; it is read again each time
                marks = ", ".join("?" * (len(row) + 1))
                database.execute(f"INSERT OR REPLACE INTO runs VALUES ({marks})", (stamp, *row))  # noqa: S608  # placeholders
        rows = database.execute(f"SELECT {columns} FROM runs ORDER BY started DESC, path").fetchall()  # noqa: S608  # own names
    return tuple(RunRow(*row) for row in rows)


def _stamp(record: Path) -> str:
    status = record.stat()
    return f"{__version__} {status.st_size} {status.st_mtime_ns}"


def _read(path: Path, name: str) -> RunRow:
    """A run's row; a damaged record is its own row, and no other's fault."""
    try:
        return _row(read_record(path), name)
    except CompressError as error:
        return RunRow(path=name, name=path.parents[1].name, fault=str(error))


def _row(record: RunRecord, path: str) -> RunRow:
    metric = deciding_metric(record)
    metrics = final_metrics(record)
    value = metrics.get(metric.name) or Quantity.missing(metric.unit, "")
    size = metrics.get("size_bytes")
    return RunRow(
        path=path,
        name=record.name,
        started=record.started,
        took_s=record.wall_time_s,
        result=_result(record),
        metric=metric.label,
        unit=metric.unit,
        higher_is_better=metric.higher_is_better,
        value=value.value,
        low=value.low,
        high=value.high,
        size_bytes=size.value if size else None,
        latency_ms=json.dumps(dict(_latencies(record))),
        stages=" → ".join(stage.name for stage in record.stages),
    )


def _latencies(record: RunRecord) -> Iterator[tuple[str, float]]:
    for row in shipped_rows(record):
        latency = row.quantities.get(row.latency_name)
        if row.subject == "artifact" and latency is not None and latency.how == "measured" and latency.value is not None:
            yield row.device, latency.value


def _result(record: RunRecord) -> str:
    if record.smoke:
        return SMOKE
    return RESULT_WORDS[record.verdict.result] if record.verdict else NO_BUDGET
