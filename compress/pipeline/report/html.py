"""The report as one HTML file with embedded style, script and pictures, without external resources.

A policy in the file forbids every request, and every script but its own.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from compress.core.format_quantity import PROVENANCE_MARKS, how_words
from compress.core.language import language
from compress.core.sentences.report import word
from compress.pipeline.report.appendix import Appendix
from compress.pipeline.report.charts.svg import STYLE
from compress.pipeline.report.outline import Outline, Section

TEMPLATES = Path(__file__).with_name("templates")
SCRIPT = TEMPLATES / "report.js"


@dataclass(frozen=True)
class Chapter:
    """A section of the page, which folds.

    Attributes:
        anchor: Its id.
        section: The section.
        parts: The sections below it, with their ids.
    """

    anchor: str
    section: Section
    parts: tuple[tuple[str, Section], ...] = ()


def chapters(sections: Sequence[Section]) -> tuple[Chapter, ...]:
    """Sections of level 2, each with those of level 3 that follow it."""
    groups: list[list[Section]] = []
    for section in sections:
        if section.level == 2 or not groups:
            groups.append([])
        groups[-1].append(section)
    return tuple(
        Chapter(f"s{index}", group[0], tuple((f"s{index}-{number}", part) for number, part in enumerate(group[1:], start=1)))
        for index, group in enumerate(groups, start=1)
    )


def render(report: Outline) -> str:
    """The whole report; all text of the record is escaped."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["drawing"] = Markup  # `charts` escapes its texts
    script = SCRIPT.read_text(encoding="utf-8")
    page = environment.get_template("report.html.j2").render(
        report=report,
        chapters=chapters(report.sections),
        appendix=Appendix(report),
        marks=PROVENANCE_MARKS,
        word=word,
        how_words=how_words,
        language=language(),
        style=Markup(STYLE.read_text(encoding="utf-8")),  # noqa: S704  # a file of this package
        script=Markup(script),  # noqa: S704  # a file of this package
        policy=policy(script),
    )
    return page + "\n"


def policy(script: str) -> str:
    """The content security policy of a page with this script: no request, and no other script."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    return (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
