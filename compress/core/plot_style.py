"""Style of the figures that stages draw: colours, axes without a box, text without formula syntax."""

from __future__ import annotations

import io
import re
import warnings
from typing import Literal, TypedDict

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import AbstractPathEffect, withStroke

from compress.core.printable import printable
from compress.core.record import Quantity

INK, GREY, FAINT = "#1f2933", "#7b8794", "#d5dae1"
COLORS = ("#0072b2", "#d55e00", "#009e73", "#b0629a", "#b58900", "#3a9bd8", "#7a5c3e")
"""Colours that readers with a colour vision deficiency can tell apart, after Okabe and Ito; those of the charts of a report."""
DPI = 144


class LabelStyle(TypedDict):
    """Arguments of a matplotlib text."""

    fontsize: float
    color: str
    path_effects: list[AbstractPathEffect]


LABEL_STYLE: LabelStyle = {"fontsize": 8, "color": INK, "path_effects": [withStroke(linewidth=2.5, foreground="white")]}
"""Style of a label in a figure, readable in front of a line."""


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


def error_bar(quantity: Quantity, factor: float) -> tuple[list[float], list[float]]:
    """Lengths of an error bar below and above a value."""
    value = quantity.value or 0.0
    low = quantity.low if quantity.low is not None else value
    high = quantity.high if quantity.high is not None else value
    return [max(0.0, (value - low) * factor)], [max(0.0, (high - value) * factor)]
