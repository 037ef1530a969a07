"""The page over all runs: a table that sorts and filters, and trend lines of each recipe. One file; nothing is fetched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from compress.core.format_quantity import format_duration, format_interval, format_quantity, format_value
from compress.core.language import gettext, language
from compress.core.printable import printable
from compress.core.record import Quantity
from compress.core.sentences.report import word
from compress.pipeline.review.run_index import NO_BUDGET, SMOKE, RunRow

TEMPLATES = Path(__file__).with_name("templates")
RESULTS: Mapping[str, str] = {
    "met": "met",
    "met, not shown": "met, not shown",
    "missed": "missed",
    SMOKE: "smoke run",
    NO_BUDGET: "no budget",
}
"""Words of the results in the index."""
WIDTH, HEIGHT, MARGIN = 640.0, 120.0, 10.0
"""Of a trend line, in pixels."""


@dataclass(frozen=True)
class Column:
    """A cell: what it shows and what it sorts by; None sorts last."""

    text: str
    key: float | str | None
    detail: str = ""


@dataclass(frozen=True)
class Trend:
    """The values of a quantity over the runs of one recipe, from the oldest to the latest.

    Attributes:
        title: Recipe and quantity.
        points: Positions and a sentence for each run.
        summary: Oldest and latest value in words.
    """

    title: str
    points: tuple[tuple[float, float, str], ...]
    summary: str

    @property
    def path(self) -> str:
        """The line as SVG's `points`."""
        return " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in self.points)


def render(runs: Sequence[RunRow], folder: Path) -> str:
    """The page.

    Args:
        runs: Rows of the index, the latest first.
        folder: Folder of all runs, for the title.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    devices = sorted({device for run in runs for device in run.latencies})
    named = gettext("run|started|duration|verdict|metric|size|stages").split("|")
    header = (*named[:-1], *(gettext("latency, {device}", device=device) for device in devices), named[-1])
    rows = [(run, _columns(run, devices)) for run in runs]
    page = environment.get_template("history.html.j2").render(
        folder=str(folder),
        header=header,
        rows=rows,
        trends=_trends(runs, devices),
        width=WIDTH,
        height=HEIGHT,
        word=word,
        language=language(),
    )
    return printable(page) + "\n"


def _columns(run: RunRow, devices: Sequence[str]) -> tuple[Column, ...]:
    if run.fault:
        return (Column(run.path, run.path), Column(run.fault, None))
    value = _quantity(run)
    better = gettext("higher is better") if run.higher_is_better else gettext("lower is better")
    interval = format_interval(value)
    return (
        Column(run.name, run.name, run.path),
        Column(run.started[:16].replace("T", " "), run.started),
        Column(format_duration(run.took_s or 0.0), run.took_s),
        Column(gettext(RESULTS.get(run.result, run.result)), run.result),
        Column(f"{gettext(run.metric)} {format_quantity(value)}", run.value, f"{interval}; {better}" if interval else better),
        Column("—" if run.size_bytes is None else format_value(run.size_bytes, "bytes"), run.size_bytes),
        *(_latency(run.latencies.get(device)) for device in devices),
        Column(run.stages, run.stages),
    )


def _quantity(run: RunRow) -> Quantity:
    return Quantity(
        value=run.value, unit=run.unit, how="not measured" if run.value is None else "measured", low=run.low, high=run.high
    )


def _latency(value: float | None) -> Column:
    return Column("—" if value is None else format_value(value, "ms"), value)


def _trends(runs: Sequence[RunRow], devices: Sequence[str]) -> tuple[Trend, ...]:
    """For each recipe with two runs or more that were not of toy size: its metric, its size and its measured latencies."""
    usable = [run for run in runs if not run.fault and run.result != SMOKE]
    trends = []
    for name, group in groupby(sorted(usable, key=lambda run: (run.name, run.started)), key=lambda run: run.name):
        members = list(group)
        series = [
            (gettext(members[-1].metric), members[-1].unit, [run.value for run in members]),
            (gettext("size"), "bytes", [run.size_bytes for run in members]),
        ]
        series += [
            (gettext("latency on {device}", device=device), "ms", [run.latencies.get(device) for run in members])
            for device in devices
        ]
        for label, unit, values in series:
            dated = [
                (run.started[:16].replace("T", " "), value)
                for run, value in zip(members, values, strict=True)
                if value is not None
            ]
            if len(dated) > 1:
                trends.append(_trend(gettext("{recipe}: {quantity}", recipe=name, quantity=label), unit, dated))
    return tuple(trends)


def _trend(title: str, unit: str, values: Sequence[tuple[str, float]]) -> Trend:
    low, high = min(value for _, value in values), max(value for _, value in values)
    span = (high - low) or 1.0
    step = (WIDTH - 2 * MARGIN) / (len(values) - 1)
    points = tuple(
        (
            MARGIN + index * step,
            HEIGHT - MARGIN - (value - low) / span * (HEIGHT - 2 * MARGIN),
            f"{date}: {format_value(value, unit)}",
        )
        for index, (date, value) in enumerate(values)
    )
    first, last = (format_value(values[index][1], unit) for index in (0, -1))
    summary = gettext("{first} in the oldest of {count} runs, {last} in the latest", first=first, count=len(values), last=last)
    return Trend(title, points, summary)
