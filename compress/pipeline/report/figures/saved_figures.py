"""Figures that a stage saves because the record has no data for them, for example images."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from PIL import Image

from compress.core.checksums import has_checksum, is_inside
from compress.core.file_name import safe_file_name
from compress.core.record import StageRecord
from compress.core.run_directory import stage_folder_name
from compress.core.sentences.names import stage_caption
from compress.pipeline.report.figures.figure_file import FigureFile

FOLDER = "figures"


def saved_figures(stage: StageRecord, run: Path) -> Iterator[FigureFile]:
    """PNG files in the folder `figures` of a stage; the caption is the description in the file.

    Missing files, changed files and files that are no PNG are skipped.

    Args:
        stage: Record of the stage, with the names of the files.
        run: The run directory.
    """
    folder = run / stage_folder_name(stage.index, stage.name)
    for name, digest in stage.files.items():
        path, relative = folder / name, PurePosixPath(name)
        if not is_inside(name) or relative.parts[0] != FOLDER or relative.suffix != ".png" or not has_checksum(path, digest):
            continue
        png = path.read_bytes()
        try:
            with Image.open(io.BytesIO(png), formats=["PNG"]) as image:
                description = str(image.info.get("Description", relative.stem))
        except (OSError, ValueError, Image.DecompressionBombError):  # not a PNG
            continue
        caption = stage_caption(stage, description.removesuffix("."))
        name = f"{stage.index:02d}_{safe_file_name(stage.name)}_{safe_file_name(relative.stem)}"
        yield FigureFile(name, f"stage-{stage.index}", caption, image=png)
