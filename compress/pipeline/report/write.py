"""Draw a report from a run's record: `report.md`, `report.html` and `figures/*.png`. No model is needed."""

from __future__ import annotations

from pathlib import Path

from compress.core.atomic_files import atomic_write, write_text
from compress.core.printable import printable
from compress.core.record import RunRecord
from compress.pipeline.report import html as page
from compress.pipeline.report import markdown
from compress.pipeline.report.figures import draw
from compress.pipeline.report.outline import build_outline


def write(record: RunRecord, folder: Path, run: Path | None = None) -> tuple[Path, ...]:
    """Write the report of a run.

    Everything is rendered before the first file is written, and each file appears whole or not at all. Equal records give
    equal files. Control characters of the record's texts are shown, not written.

    Args:
        record: The run.
        folder: Where to; created if missing.
        run: The run directory, whose stages may have saved figures of their own; `folder` itself by default.

    Returns:
        `report.md`, `report.html`, then the pictures.

    Raises:
        StoreError: The folder is not writable, or full.
    """
    pictures = draw(record, run or folder)
    report = build_outline(record, pictures)
    texts = {folder / "report.md": markdown.render(report), folder / "report.html": page.render(report)}
    drawn = {folder / "figures" / f"{picture.name}.png": picture.png for picture in pictures}
    for path, png in drawn.items():
        with atomic_write(path) as aside:
            aside.write_bytes(png)
    for path, text in texts.items():
        write_text(path, printable(text))
    return (*texts, *drawn)
