"""Style of all figures of a report: colours, axes without a box, text without formula syntax."""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import AbstractPathEffect, withStroke
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

from compress.core.printable import printable
from compress.core.record import Metric, Quantity

INK, GREY, FAINT = "#1f2933", "#7b8794", "#d5dae1"
COLORS = ("#1d5fa8", "#c2571a", "#2b8a57", "#7d4fa3", "#a8871d", "#b23a5e", "#3a8fa3")
SUBJECT_COLORS = {"teacher": "#7b8794", "student": "#d08a3c", "artifact": "#1d5fa8"}
DPI = 144


class LabelStyle(TypedDict):
    """Arguments of a matplotlib text."""

    fontsize: float
    color: str
    path_effects: list[AbstractPathEffect]


LABEL_STYLE: LabelStyle = {"fontsize": 8, "color": INK, "path_effects": [withStroke(linewidth=2.5, foreground="white")]}
"""Style of a label in a figure, readable in front of a line."""
LINEAR_BELOW = 5.0
"""Largest ratio of two values for a linear axis."""


@dataclass(frozen=True)
class FigureFile:
    """One PNG.

    Attributes:
        name: File name without suffix.
        section: Section of the report that shows it: `overview`, `devices` or `stage-N`.
        caption: Text below it.
        png: Content of the file.
    """

    name: str
    section: str
    caption: str
    png: bytes


def escape_text(text: str) -> str:
    """Text that matplotlib does not read as a formula, of at most 60 characters."""
    shortened = text if len(text) <= 60 else f"{text[:59]}…"
    # the font has no glyphs for control characters
    shown = re.sub("[\u2400-\u2421]", "\ufffd", printable(re.sub(r"\s+", " ", shortened)))
    return shown.replace("$", r"\$").lstrip("_")


def to_png(figure: Figure, description: str = "") -> bytes:
    """PNG bytes of a figure; the description is the caption of a figure that a stage saves."""
    about = {"Software": None, **({"Description": description} if description else {})}
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)  # names may be in any script
        figure.savefig(buffer, format="png", metadata=about)
    return buffer.getvalue()


def new_figure(width: float, height: float) -> Figure:
    """An empty figure; width and height in inches."""
    return Figure(figsize=(width, height), dpi=DPI, layout="constrained", facecolor="white")


def style_axes(axes: Axes, *, grid: Literal["both", "x", "y"] = "both") -> None:
    """Axes without a box, with a faint grid and small type."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(FAINT)
    axes.grid(visible=True, axis=grid, color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(which="both", colors=GREY, labelsize=8, length=0)
    axes.xaxis.label.set(color=INK, fontsize=9)
    axes.yaxis.label.set(color=INK, fontsize=9)
    axes.title.set(color=INK, fontsize=10)


def scale_x(axes: Axes, values: Iterable[float]) -> None:
    """Use a logarithmic x axis with plain numbers if the ratio of two values is `LINEAR_BELOW` or more."""
    positive = [value for value in values if value > 0]
    if not positive or max(positive) / min(positive) < LINEAR_BELOW:
        axes.margins(x=0.2)
        return
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xlim(min(positive) / 1.8, max(positive) * 2.4)


def separate_labels(figure: Figure, labels: Iterable[Annotation]) -> None:
    """Separate overlapping labels: labels above their points move up, labels below move down."""
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    placed: list[Bbox] = []
    for label in labels:
        x, y = label.xyann
        step = 1 if label.get_verticalalignment() == "bottom" else -1
        while any(label.get_window_extent(canvas.get_renderer()).overlaps(other) for other in placed):
            y += step
            label.xyann = (x, y)
        placed.append(label.get_window_extent(canvas.get_renderer()))


def metric_scale(metric: Metric) -> tuple[float, str]:
    """Factor and unit of a metric on an axis: percent for a fraction, no unit for a plain number."""
    return (100.0, "%") if metric.unit == "fraction" else (1.0, "" if metric.unit == "1" else metric.unit)


def label_metric_axis(axes: Axes, metric: Metric, split: str) -> None:
    """Label the y axis of a metric; better values are up.

    Args:
        axes: Axes with all curves.
        metric: The metric.
        split: `test` or `validation`; empty where both are drawn.
    """
    unit = metric_scale(metric)[1]
    axes.set_ylabel(escape_text(f"{split} {metric.label}{f' ({unit})' if unit else ''}".strip()))
    if not metric.higher_is_better:
        axes.invert_yaxis()


def value_or_none(quantity: Quantity | None) -> float | None:
    """The value of a quantity, or None."""
    return None if quantity is None else quantity.value


def error_bar(quantity: Quantity, factor: float) -> tuple[list[float], list[float]]:
    """Lengths of an error bar below and above a value."""
    value = quantity.value or 0.0
    low = quantity.low if quantity.low is not None else value
    high = quantity.high if quantity.high is not None else value
    return [max(0.0, (value - low) * factor)], [max(0.0, (high - value) * factor)]


def three_digits(value: float) -> str:
    """A positive number with three significant digits."""
    return f"{value:,.{max(0, 2 - math.floor(math.log10(value)))}f}"


def safe_file_name(name: str) -> str:
    """A name that is safe in a path."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", name) or "stage"
