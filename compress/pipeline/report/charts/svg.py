"""An SVG drawing as text. Colours are classes, so that one style sheet defines them for light and dark pages and for print."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from compress.core.printable import printable, shorten

Anchor = Literal["start", "middle", "end"]
STYLE = Path(__file__).with_name("chart.css")
"""Style sheet of the classes, for pages and for files of their own."""
SERIES = 7
"""Number of colours of series: classes `c0` to `c6`."""
SHOWN_CHARACTERS = 40
"""Longest text in a drawing; its element has the whole text as title."""


def escape(text: str) -> str:
    """Text that XML shows as it is, on one line."""
    line = re.sub(r"\s+", " ", printable(text)).strip()
    return html.escape(re.sub("[\ufffe\uffff]", "\ufffd", line))


def text_width(text: str, size: float = 12.0) -> float:
    """Estimated width of a text in a sans-serif font, px: 0.56 of the size per character, and the size for wide scripts."""
    return sum(size if ord(character) > 0x2E7F else 0.56 * size for character in text)


@dataclass
class Drawing:
    """A drawing in construction.

    Args:
        width: px.
        height: px.
    """

    width: float
    height: float
    _parts: list[str] = field(default_factory=list)

    def line(self, start: tuple[float, float], end: tuple[float, float], style: str) -> None:
        """A straight line; `style` names classes of the style sheet."""
        (x1, y1), (x2, y2) = start, end
        self._parts.append(f'<line x1="{_px(x1)}" y1="{_px(y1)}" x2="{_px(x2)}" y2="{_px(y2)}" class="{style}"/>')

    def polyline(self, points: Iterable[tuple[float, float]], style: str) -> None:
        """A line through points."""
        path = " ".join(f"{_px(x)},{_px(y)}" for x, y in points)
        self._parts.append(f'<polyline points="{path}" class="{style}"/>')

    def circle(self, centre: tuple[float, float], radius: float, style: str, title: str = "") -> None:
        """A circle, with a text that pages show when the pointer rests on it."""
        shape = f'<circle cx="{_px(centre[0])}" cy="{_px(centre[1])}" r="{_px(radius)}" class="{style}"'
        self._parts.append(f"{shape}><title>{escape(title)}</title></circle>" if title else f"{shape}/>")

    def rectangle(self, corner: tuple[float, float], width: float, height: float, style: str, title: str = "") -> None:
        """A rectangle from its upper left corner, with a text as of a circle."""
        place = f'x="{_px(corner[0])}" y="{_px(corner[1])}" width="{_px(max(0.0, width))}" height="{_px(max(0.0, height))}"'
        shape = f'<rect {place} class="{style}"'
        self._parts.append(f"{shape}><title>{escape(title)}</title></rect>" if title else f"{shape}/>")

    def text(
        self,
        place: tuple[float, float],
        text: str,
        style: str = "",
        *,
        anchor: Anchor = "start",
        upright: bool = True,
        characters: int = SHOWN_CHARACTERS,
    ) -> None:
        """A line of text; the place is its baseline, and `upright=False` turns it to read upwards."""
        x, y = map(_px, place)
        turn = "" if upright else f' transform="rotate(-90 {x} {y})"'
        shown = escape(shorten(text, characters))
        whole = f"<title>{escape(text)}</title>" if len(text) > characters else ""
        kind = f' class="{style}"' if style else ""
        position = "" if anchor == "start" else f' text-anchor="{anchor}"'
        self._parts.append(f'<text x="{x}" y="{y}"{kind}{position}{turn}>{shown}{whole}</text>')

    def render(self, alternative: str) -> str:
        """The drawing as an SVG element without a style sheet; `alternative` says in words what it shows."""
        size = f'viewBox="0 0 {_px(self.width)} {_px(self.height)}" width="{_px(self.width)}" height="{_px(self.height)}"'
        head = f'<svg xmlns="http://www.w3.org/2000/svg" class="chart" {size} role="img" aria-label="{escape(alternative)}">'
        return f"{head}{''.join(self._parts)}</svg>"


def as_file(svg: str) -> str:
    """An element of `Drawing.render` as a file of its own, with style sheet and background."""
    head, end, rest = svg.partition(">")
    style = f"<style>{STYLE.read_text(encoding='utf-8')}</style>"
    return f'{head}{end}{style}<rect width="100%" height="100%" class="paper"/>{rest}\n'


def _px(value: float) -> str:
    text = f"{value:.1f}"
    return text.removesuffix(".0").replace("-0", "0") if text in ("-0.0", "0.0") else text.removesuffix(".0")
