"""Drawings of a study: its trials over two objectives, its parameters side by side, and their importance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

from compress.core.format_quantity import format_value
from compress.core.language import gettext, joined
from compress.core.record import Quantity
from compress.pipeline.report.charts.axis import Axis, axis_of
from compress.pipeline.report.charts.bars import BarGroup, ChartBar, draw_bars
from compress.pipeline.report.charts.frame import WIDTH
from compress.pipeline.report.charts.scatter import ChartPoint, Scatter, draw_scatter
from compress.pipeline.report.charts.svg import Drawing
from compress.search.front import Selection, TrialRow, objective

HEIGHT, TOP, BOTTOM, SIDE = 300.0, 34.0, 266.0, 70.0
LABEL_CHARACTERS = 18


def draw_front(rows: Sequence[TrialRow], directions: Mapping[str, bool], selection: Selection) -> str:
    """All finished trials over the first two objectives; the front is a dotted line, trials over the budget are hollow.

    Args:
        rows: Finished trials.
        directions: At least two objectives, each with whether higher is better.
        selection: The choice.
    """
    (first, first_is_higher), (second, second_is_higher) = list(directions.items())[:2]
    scale = {name: 100.0 if objective(rows[0], name).unit == "fraction" else 1.0 for name in (first, second)}

    def point(row: TrialRow) -> ChartPoint:
        chosen = row in (selection.best, selection.runner_up)
        style = (
            "c1" if row is selection.best else "c3" if row is selection.runner_up else "c2" if row in selection.front else "c0"
        )
        name = gettext("trial {number}", number=row.number) if chosen else ""
        values = ", ".join(f"{key} {format_value(value(row, key), objective(row, key).unit)}" for key in (first, second))
        trial = gettext("trial {number}", number=row.number)
        return ChartPoint(name, plain(objective(row, second)), plain(objective(row, first)), style, f"{trial}: {values}")

    points = {row.number: point(row) for row in rows}
    x = [value(row, second) * scale[second] for row in rows]
    y = [value(row, first) * scale[first] for row in rows]
    within = [points[row.number] for row in rows if row.is_feasible]
    others = [points[row.number] for row in rows if not row.is_feasible]
    alternative = joined(point.title for point in points.values())
    return draw_scatter(
        Scatter(
            points=within,
            x=axis_of(axis_label(second, rows), x, inverted=second_is_higher),
            y=axis_of(axis_label(first, rows), y, log=False, inverted=not first_is_higher),
            x_factor=scale[second],
            y_factor=scale[first],
            faint=others,
            front=[points[row.number] for row in selection.front] if len(directions) == 2 else (),
        ),
        alternative,
    )


def draw_parallel(rows: Sequence[TrialRow], directions: Mapping[str, bool], selection: Selection) -> str:
    """Parallel coordinates: a line for each finished trial through its parameters and objectives.

    The line of a trial is interrupted at a parameter that it does not have. Trials of the front are drawn above the others.

    Args:
        rows: Finished trials.
        directions: The objectives.
        selection: The choice.
    """
    keys = list(dict.fromkeys(key for row in rows for key in row.parameters))
    columns = [(".".join(key.split(".")[-2:]), [row.parameters.get(key) for row in rows]) for key in keys]
    columns += [(name, [value(row, name) for row in rows]) for name in directions]
    drawing = Drawing(WIDTH, HEIGHT)
    step = (WIDTH - 2 * SIDE) / max(1, len(columns) - 1)
    places: list[list[tuple[float, float] | None]] = [[] for _ in rows]
    for index, (label, values) in enumerate(columns):
        x = SIDE + index * step
        heights, low, high = column_positions(values)
        drawing.line((x, TOP), (x, BOTTOM), "axis")
        drawing.text((x, TOP - 20 + 12 * (index % 2)), label, anchor="middle", characters=LABEL_CHARACTERS)
        drawing.text((x, BOTTOM + 14), low, "tick", anchor="middle", characters=LABEL_CHARACTERS)
        drawing.text((x + 4, TOP + 10), high, "halo", characters=LABEL_CHARACTERS)
        for place, height in zip(places, heights, strict=True):
            place.append(None if height is None else (x, BOTTOM - height * (BOTTOM - TOP - 12)))
    front = {row.number for row in selection.front}
    for row, place in sorted(zip(rows, places, strict=True), key=lambda pair: pair[0].number in front):
        style = "stroke c1" if row is selection.best else "stroke c2" if row.number in front else "stroke c0 thin"
        for known, part in groupby(place, key=lambda point: point is not None):
            points = [point for point in part if point is not None]
            if known and len(points) > 1:
                drawing.polyline(points, style)
            elif known:
                drawing.circle(points[0], 1.5, style)
    words = gettext("{count} trials through {names}", count=len(rows), names=joined(label for label, _ in columns))
    return drawing.render(words)


def column_positions(values: Sequence[object]) -> tuple[list[float | None], str, str]:
    """Positions of the values of a column between 0 and 1, None of None, and the labels of both ends."""
    numbers = [number for number in values if isinstance(number, int | float) and not isinstance(number, bool)]
    if numbers and len(numbers) == sum(number is not None for number in values):
        axis = axis_of("", numbers, margin=0.0) if len(set(numbers)) > 1 else Axis("", numbers[0] - 1.0, numbers[0] + 1.0)
        measured = [axis.position(number) if isinstance(number, int | float) else None for number in values]
        return measured, f"{min(numbers):.3g}", f"{max(numbers):.3g}"
    names = sorted({str(name) for name in values if name is not None})
    last = max(1, len(names) - 1)
    named = [None if name is None else names.index(str(name)) / last for name in values]
    return named, names[0], names[-1]


def draw_importance(shares: Mapping[str, float], objective_name: str) -> str:
    """Bars of the share of each parameter, in percent.

    Args:
        shares: Shares by parameter.
        objective_name: The objective, for the axis.
    """
    bars = [ChartBar(key, 100 * share, f"{100 * share:.0f} %", "c0") for key, share in shares.items()]
    label = gettext("share of the variance of {name} (%)", name=objective_name)
    alternative = joined(f"{bar.name}: {bar.text}" for bar in bars)
    return draw_bars([BarGroup("", bars)], Axis(label, 0.0, 100.0), alternative)


def axis_label(name: str, rows: Sequence[TrialRow]) -> str:
    """An objective with its unit."""
    unit = objective(rows[0], name).unit
    shown = {"fraction": "%", "1": "", "MAC": ""}.get(unit, unit)
    return gettext("{quantity} ({unit})", quantity=name, unit=shown) if shown else name


def plain(quantity: Quantity) -> Quantity:
    """A quantity without its interval, which many points would hide."""
    return quantity.model_copy(update={"low": None, "high": None})


def value(row: TrialRow, name: str) -> float:
    """An objective of a finished trial as a number."""
    return objective(row, name).value or 0.0
