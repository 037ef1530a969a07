"""Figures that a stage left itself, because the record has not the data to draw them: images, for example."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from PIL import Image

from compress.core.atomic_files import sha256
from compress.core.plot_style import Picture, safe_file_name
from compress.core.record import StageRecord

FOLDER = "figures"


def left_by(stage: StageRecord, run: Path) -> Iterator[Picture]:
    """The PNGs in the folder `figures` of a stage, with the caption that each carries as its description.

    One that is not there any more, or was changed since, is left out.

    Args:
        stage: Its record names the files.
        run: The run directory.
    """
    folder = run / f"{stage.index:02d}-{stage.name}"
    for name, digest in stage.files.items():
        path, place = folder / name, PurePosixPath(name)
        if place.parts[0] != FOLDER or place.suffix != ".png" or not path.is_file() or sha256(path) != digest:
            continue
        png = path.read_bytes()
        with Image.open(io.BytesIO(png)) as image:
            said = str(image.info.get("Description", place.stem))
        caption = f"Stage {stage.index}, {stage.name}: {said}"
        yield Picture(f"{stage.index:02d}_{safe_file_name(stage.name)}_{place.stem}", f"stage-{stage.index}", caption, png)
