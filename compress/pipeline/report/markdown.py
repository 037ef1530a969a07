"""The report as Markdown (GitHub's dialect), with pictures beside it in `figures/`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from compress.core.format_quantity import PROVENANCE_MARKS, how_words
from compress.core.sentences.report import word
from compress.pipeline.report.appendix import Appendix
from compress.pipeline.report.outline import Outline, Section
from compress.pipeline.report.table import Cell, Table


def escape(text: str) -> str:
    """Text that Markdown shows as it is, on one line, also inside a table."""
    line = re.sub(r"\s+", " ", text).strip().replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    line = re.sub(r"([\\`*\[\]|~#])", r"\\\1", line)
    return re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", line)


def render(report: Outline) -> str:
    """The whole report; notes are footnotes at its end."""
    appendix = Appendix(report)
    lines = [f"# {escape(report.title)}", "", f"**{report.verdict.upper()}** {escape(report.headline)}", ""]
    lines += [" · ".join(map(escape, report.facts)), ""]
    for section in report.front:
        lines += _review() if section.area == "review" else _section(section, appendix)
    lines += ["---", ""]
    for section in report.sections:
        lines += _section(section, appendix)
    for number, note in enumerate(appendix.notes, start=1):
        lines += [f"[^{number}]: {escape(note)}", ""]
    return "\n".join(lines).rstrip() + "\n"


def _section(section: Section, appendix: Appendix) -> Iterator[str]:
    yield from (f"{'#' * section.level} {escape(section.title)}", "")
    for paragraph in section.paragraphs:
        yield from (escape(paragraph), "")
    if section.items:
        yield from (f"- {escape(item)}" for item in section.items)
        yield ""
    for table in section.tables:
        yield from _table(table, appendix.number, titled=table.title != section.title)
    for picture in section.pictures:
        path = picture.path.as_posix()
        yield from (f"![{escape(picture.alternative or picture.caption)}]({path})", "", f"*{escape(picture.caption)}*", "")
    for title, text in section.code:
        yield from _code(title, text)


def _review() -> Iterator[str]:
    """The block that the reviewer fills in."""
    yield from (f"## {escape(word('front.review'))}", "")
    yield from (f"- {escape(word(key))}: " for key in ("review.reviewer", "review.date"))
    yield f"- {escape(word('review.decision'))}:"
    yield from (f"  - [ ] {escape(word(f'review.{key}'))}" for key in ("accept", "conditions", "reject"))
    yield from (f"- {escape(word('review.remarks'))}: ", "")


def table_lines(table: Table, *, titled: bool) -> Iterator[str]:
    """A table alone, with its notes below it."""
    yield from _table(table, lambda _, cell: cell.note, titled=titled, footnote="\\[{}\\]")
    if table.notes:
        yield from (f"{number}. {escape(note)}" for number, note in enumerate(table.notes, start=1))
        yield ""


def _table(
    table: Table, number: Callable[[Table, Cell], int | None], *, titled: bool, footnote: str = "[^{}]"
) -> Iterator[str]:
    if table.collapsed:
        yield from (f"<details><summary>{escape(table.title)}</summary>", "")
    elif titled:
        yield from (f"**{escape(table.title)}**", "")
    yield _row(escape(name) for name in table.header)
    yield _row("---" for _ in table.header)
    yield from (_row(_cell(cell, number(table, cell), footnote) for cell in row) for row in table.rows)
    yield ""
    sign = PROVENANCE_MARKS["not measured"]
    for names, reason in table.folded:
        text = word("table.folded_because", names=names, reason=reason) if reason else word("table.folded", names=names)
        yield from (escape(f"{sign} {text}"), "")
    for remark in table.remarks:
        yield from (escape(remark), "")
    if table.collapsed:
        yield from ("</details>", "")


def _row(cells: Iterator[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(cell: Cell, number: int | None, footnote: str) -> str:
    parts = [escape(cell.text)]
    if cell.interval:
        parts.append(f"({escape(cell.interval)})")
    if cell.how:
        parts.append(
            PROVENANCE_MARKS[cell.how] if cell.how != "estimated" else f"{PROVENANCE_MARKS[cell.how]} {how_words(cell.how)}"
        )
    if number is not None:
        parts.append(footnote.format(number))
    if cell.change:
        parts.append(f"<br>{escape(cell.change)}")
    return " ".join(parts)


def _code(title: str, text: str) -> Iterator[str]:
    """A fenced block; the fence is longer than any run of backticks inside."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    yield from (
        f"<details><summary>{escape(title)}</summary>",
        "",
        f"{fence}yaml",
        text.rstrip("\n"),
        fence,
        "",
        "</details>",
        "",
    )
