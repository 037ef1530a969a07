"""The report as one HTML file with embedded style and pictures, without external resources."""

from __future__ import annotations

import base64
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from compress.core.format_quantity import PROVENANCE_MARKS
from compress.core.sentences.limits import RESULT_WORDS
from compress.pipeline.report.outline import Outline

TEMPLATES = Path(__file__).with_name("templates")


def _data_uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"


def render(report: Outline) -> str:
    """The whole report; all text of the record is escaped."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["data_uri"] = _data_uri
    return (
        environment.get_template("report.html.j2").render(
            report=report, marks=PROVENANCE_MARKS, results=tuple(RESULT_WORDS.values())
        )
        + "\n"
    )
