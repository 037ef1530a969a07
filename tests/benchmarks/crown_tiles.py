"""Tiles of the aerial images of the package `deepforest` (MIT), as a folder of Pascal VOC with a split by place.

The package ships four images with 951 boxes. The two of Yellowstone are divided by place: columns for training, validation and
test follow each other from left to right. Those of Florida and California are for training. Crops for training overlap by half.
A split by image says less: the two of Yellowstone differ in light, and a detector that had 62 % mAP50 on another side of the
one that it was trained on had 15 % on the other image.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

from PIL import Image

from compress.data.sources.detection.voc import read_voc

LARGE, SMALL = "2019_YELL_2_528000_4978000_image_crop2", "2019_YELL_2_541000_4977000_image_crop"
"""The images of Yellowstone, 2299 and 1249 pixels wide."""


class Region(NamedTuple):
    """Columns of an image that crops are cut from, a crop every `step` pixels."""

    image: str
    step: int
    left: int = 0
    right: int | None = None


TILE = 200
"""Height and width of a crop, pixels of 10 cm."""
LEAST_VISIBLE = 0.5
"""A box of which a smaller fraction of the area is inside a crop is left out of it."""
NAME = "tree crown"
REGIONS = {
    "train": (
        Region(LARGE, TILE // 2, right=1400),
        Region(SMALL, TILE // 2, right=600),
        Region("OSBS_029", TILE // 2),
        Region("SOAP_061", TILE // 2),
    ),
    "val": (Region(LARGE, TILE, left=1400, right=1800), Region(SMALL, TILE, left=600, right=800)),
    "test": (Region(LARGE, TILE, left=1800), Region(SMALL, TILE, left=800)),
}


def write_tiles(source: Path, target: Path) -> dict[str, tuple[int, int]]:
    """Cut the images into crops; what is left at the right and at the bottom is dropped.

    Args:
        source: Folder of the images and their XML files.
        target: Folder to write: `NAME_row_column.png` and `.xml`, and `ImageSets/Main/*.txt`.

    Returns:
        Crops and boxes of each split; a tree in two crops counts twice.
    """
    lists = target / "ImageSets" / "Main"
    lists.mkdir(parents=True, exist_ok=True)
    counts = {}
    for split, regions in REGIONS.items():
        written = [crop for region in regions for crop in write_crops(region, source, target)]
        listed, file = "".join(f"{name}\n" for name, _ in written), lists / f"{split}.txt"
        if not file.exists() or file.read_text(encoding="utf-8") != listed:  # a file that is written anew counts as other data
            file.write_text(listed, encoding="utf-8")
        counts[split] = (len(written), sum(boxes for _, boxes in written))
    return counts


def write_crops(region: Region, source: Path, target: Path) -> list[tuple[str, int]]:
    """Write the crops of a region; names, and numbers of boxes. Of overlapping ones without boxes every fourth is kept."""
    annotated, written, empty = read_voc(source / f"{region.image}.xml"), list[tuple[str, int]](), 0
    with Image.open(source / f"{annotated.file.stem}.png") as opened:
        image = opened.convert("RGB")
    for top in range(0, image.height - TILE + 1, region.step):
        for left in range(region.left, (region.right or image.width) - TILE + 1, region.step):
            name = f"{annotated.file.stem}_{top}_{left}"
            boxes = [box for each in annotated.boxes if (box := clip(each, left, top)) is not None]
            empty += not boxes
            if not boxes and empty % 4 and region.step < TILE:
                continue
            if not (target / f"{name}.xml").exists():  # a file that is written anew would count as other data
                image.crop((left, top, left + TILE, top + TILE)).save(target / f"{name}.png")
                (target / f"{name}.xml").write_text(as_xml(name, boxes), encoding="utf-8")
            written.append((name, len(boxes)))
    return written


def clip(box: tuple[float, float, float, float], left: int, top: int) -> tuple[float, ...] | None:
    """A box in the pixels of a crop; None where too little of it is inside."""
    moved = (box[0] - left, box[1] - top, box[2] - left, box[3] - top)
    x1, y1, x2, y2 = (min(max(value, 0.0), float(TILE)) for value in moved)
    visible, area = max(0.0, x2 - x1) * max(0.0, y2 - y1), (box[2] - box[0]) * (box[3] - box[1])
    return (x1, y1, x2, y2) if visible > 0 and visible >= LEAST_VISIBLE * area else None


def as_xml(name: str, boxes: list[tuple[float, ...]]) -> str:
    """An annotation of Pascal VOC."""
    objects = "".join(
        f"<object><name>{NAME}</name><bndbox><xmin>{x1:g}</xmin><ymin>{y1:g}</ymin><xmax>{x2:g}</xmax><ymax>{y2:g}</ymax>"
        "</bndbox></object>\n"
        for x1, y1, x2, y2 in boxes
    )
    size = f"<size><width>{TILE}</width><height>{TILE}</height><depth>3</depth></size>"
    return f"<annotation>\n<filename>{escape(name)}.png</filename>\n{size}\n{objects}</annotation>\n"
