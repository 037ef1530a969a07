"""Command `list`: the runs below a folder."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from compress.cli.common import echo, echo_json
from compress.cli.common import terminal as open_terminal
from compress.core.format_quantity import PROVENANCE_MARKS, format_interval, format_quantity
from compress.core.language import gettext
from compress.core.record import Quantity
from compress.core.user_path import user_path

if TYPE_CHECKING:
    from compress.pipeline.review.run_index import RunRow


def list_runs(
    folder: Annotated[Path, typer.Argument(parser=user_path, help="Folder of all runs.")] = Path("reports"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON.")] = False,
) -> None:
    """List the runs below a folder, the newest first: age, verdict, metric, size and latency."""
    from compress.cli.terminal import table
    from compress.pipeline.review.run_index import read_runs

    runs = read_runs(folder)
    if as_json:
        echo_json([_as_json(run, folder) for run in runs])
        return
    if not runs:
        echo(gettext("no runs below {folder}; give the folder of --out of your runs", folder=folder))
        return
    now = datetime.now(UTC)
    header = gettext("run|age|verdict|metric|size|latency").split("|")
    table(open_terminal(), "", header, [_cells(run, now) for run in runs], words=True)


def _cells(run: RunRow, now: datetime) -> list[str]:
    if run.fault:
        return [run.path, "", gettext("cannot be read"), run.fault, "", ""]
    latency = ", ".join(f"{device} {_short(value, 'ms')}" for device, value in run.latencies.items())
    return [run.path, _age(run.started, now), gettext(run.result), _metric(run), _short(run.size_bytes, "bytes"), latency]


def _metric(run: RunRow) -> str:
    interval = (run.low, run.high) if run.low is not None and run.high is not None else None
    if run.value is None:
        return f"{gettext(run.metric)} {PROVENANCE_MARKS['not measured']}"
    quantity = Quantity.measured(run.value, run.unit, interval=interval)
    shown = format_interval(quantity)
    return f"{gettext(run.metric)} {format_quantity(quantity)}{f' ({shown})' if shown else ''}"


def _short(value: float | None, unit: str) -> str:
    if value is None:
        return PROVENANCE_MARKS["not measured"]
    return format_quantity(Quantity.measured(value, unit))


def _age(started: str, now: datetime) -> str:
    """Time since the start: `5 min`, `3 h`, `2 d`; empty where the record has no valid time."""
    try:
        begun = datetime.fromisoformat(started)
    except ValueError:
        return ""
    seconds = max(0.0, (now - begun.replace(tzinfo=begun.tzinfo or UTC)).total_seconds())
    if seconds < 5400:
        return gettext("{count:.0f} min", count=seconds / 60)
    if seconds < 48 * 3600:
        return gettext("{count:.0f} h", count=seconds / 3600)
    return gettext("{count:.0f} d", count=seconds / 86400)


def _as_json(run: RunRow, folder: Path) -> dict[str, object]:
    return {
        "run": str(folder / run.path),
        "name": run.name,
        "started": run.started,
        "verdict": run.result,
        "metric": {"label": run.metric, "unit": run.unit, "value": run.value, "low": run.low, "high": run.high},
        "size_bytes": run.size_bytes,
        "latency_ms": run.latencies,
        "fault": run.fault,
    }
