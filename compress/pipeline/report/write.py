"""Render a report from the record of a run: `report.md`, `report.html` and `figures/`. No model is needed."""

from __future__ import annotations

from pathlib import Path

from compress.core.atomic_files import atomic_write, write_text
from compress.core.printable import printable
from compress.core.run_record import RunRecord
from compress.pipeline.report import html as page
from compress.pipeline.report import markdown
from compress.pipeline.report.figures.draw import draw
from compress.pipeline.report.outline import build_outline


def write(record: RunRecord, folder: Path, run: Path | None = None) -> tuple[Path, ...]:
    """Write the report of a run.

    Everything is rendered before the first file is written, and each file is written atomically. Equal records give
    equal files. Control characters in texts of the record become visible characters.

    Args:
        record: The run.
        folder: Output folder; created if missing.
        run: The run directory, in which stages may have saved figures; by default `folder`.

    Returns:
        `report.md`, `report.html`, then the pictures.

    Raises:
        StoreError: The folder is not writable, or full.
    """
    pictures = draw(record, run or folder)
    report = build_outline(record, pictures)
    texts = {folder / "report.md": markdown.render(report), folder / "report.html": page.render(report)}
    drawn = {folder / picture.path: picture.content for picture in pictures}
    for path, content in drawn.items():
        with atomic_write(path) as aside:
            aside.write_bytes(content)
    for path, text in texts.items():
        write_text(path, printable(text))
    return (*texts, *drawn)
