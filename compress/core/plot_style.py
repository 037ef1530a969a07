"""Style of the figures that stages draw: colours, axes without a box, text without formula syntax."""

from __future__ import annotations

import io
import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, TypedDict

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import AbstractPathEffect, withStroke

from compress.core.language import in_language, language
from compress.core.printable import printable
from compress.core.record import Quantity

INK, GREY, FAINT = "#1f2933", "#7b8794", "#d5dae1"
COLORS = ("#0072b2", "#d55e00", "#009e73", "#b0629a", "#b58900", "#3a9bd8", "#7a5c3e")
"""Colours that readers with a colour vision deficiency can tell apart, after Okabe and Ito; those of the charts of a report."""
DPI = 144
FONTS = (
    "DejaVu Sans", "Noto Sans CJK SC", "Source Han Sans SC", "PingFang SC", "Hiragino Sans GB", "Microsoft YaHei",
    "WenQuanYi Micro Hei", "SimHei",
)  # fmt: skip
"""Fonts of a figure in the order in which a glyph is searched: that of matplotlib, then those of systems with Chinese."""


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


def to_svg(figure: Figure, description: str = "") -> bytes:
    """SVG of a figure whose text stays text: whoever shows it has the fonts, which the machine that draws it may lack."""
    about = {"Date": None, **({"Description": description} if description else {})}
    buffer = io.BytesIO()
    with (
        warnings.catch_warnings(),
        rc_context({"svg.fonttype": "none", "svg.hashsalt": "compress", "font.sans-serif": [*FONTS]}),
        _without_notes_on_fonts(),
    ):
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        figure.savefig(buffer, format="svg", metadata=about)
    return buffer.getvalue()


@contextmanager
def language_of_figure(*, as_svg: bool) -> Iterator[None]:
    """Labels inside the block are in the language in use for an SVG; a PNG, whose font has no Chinese, is English."""
    with in_language(language() if as_svg else "en"):
        yield


@contextmanager
def _without_notes_on_fonts() -> Iterator[None]:
    """Without the notes on fonts that this machine does not have."""
    logger = logging.getLogger("matplotlib.font_manager")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


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
