"""Figures that a stage saved itself because the record lacks the data to draw them, for example images."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from PIL import Image

from compress.core.atomic_files import sha256
from compress.core.plot_style import FigureFile, safe_file_name
from compress.core.record import StageRecord

FOLDER = "figures"


def saved_figures(stage: StageRecord, run: Path) -> Iterator[FigureFile]:
    """PNG files in a stage's folder `figures`; the caption is the file's description.

    A file that is missing or has changed since is left out.

    Args:
        stage: Its record names the files.
        run: The run directory.
    """
    folder = run / f"{stage.index:02d}-{stage.name}"
    for name, digest in stage.files.items():
        path, relative = folder / name, PurePosixPath(name)
        if relative.parts[0] != FOLDER or relative.suffix != ".png" or not path.is_file() or sha256(path) != digest:
            continue
        png = path.read_bytes()
        with Image.open(io.BytesIO(png)) as image:
            description = str(image.info.get("Description", relative.stem))
        caption = f"Stage {stage.index}, {stage.name}: {description}"
        yield FigureFile(
            f"{stage.index:02d}_{safe_file_name(stage.name)}_{relative.stem}", f"stage-{stage.index}", caption, png
        )
