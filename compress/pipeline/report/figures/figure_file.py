"""A picture of a report: an SVG drawing, a PNG that a stage saved, or a small JPEG of the record."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path

from compress.pipeline.report.charts.svg import as_file

FOLDER = Path("figures")
"""Folder of the pictures beside `report.md`."""


@dataclass(frozen=True)
class FigureFile:
    """One picture.

    Attributes:
        name: File name without suffix.
        section: Section of the report that shows it: `front`, `overview`, `chain`, `classes`, `devices`,
            `lengths` or `stage-N`.
        caption: Text below it.
        svg: The drawing as an element; empty for an image.
        image: Content of an image; empty for a drawing.
        suffix: Of an image: `png` or `jpg`.
        alternative: What it shows, in words, for readers who do not see it; the caption where it is empty.
    """

    name: str
    section: str
    caption: str
    svg: str = ""
    image: bytes = b""
    suffix: str = "png"
    alternative: str = ""

    @property
    def path(self) -> Path:
        """Path relative to the folder of the report."""
        return FOLDER / f"{self.name}.{'svg' if self.svg else self.suffix}"

    @property
    def content(self) -> bytes:
        """Content of the file."""
        return as_file(self.svg).encode() if self.svg else self.image

    @property
    def data_uri(self) -> str:
        """An image as text, for a page in one file."""
        kind = "jpeg" if self.suffix == "jpg" else self.suffix
        return f"data:image/{kind};base64,{base64.b64encode(self.image).decode('ascii')}"
