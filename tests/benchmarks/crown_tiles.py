"""Tiles of the aerial images of the package `deepforest` (MIT), as a folder of Pascal VOC with a split by image.

The package ships four images with 951 boxes. Those of Yellowstone are for training (574 boxes) and test (279); the two others,
of Florida and California, are for validation (98). So no crop of a test image is trained on, and validation is of other places.
"""

from __future__ import annotations

from pathlib import Path
from xml.sax.saxutils import escape

from PIL import Image

from compress.data.sources.detection.voc import VocImage, read_voc

IMAGES = {
    "train": ("2019_YELL_2_528000_4978000_image_crop2",),
    "val": ("OSBS_029", "SOAP_061"),
    "test": ("2019_YELL_2_541000_4977000_image_crop",),
}
TILE = 200
"""Height and width of a crop, pixels of 10 cm."""
LEAST_VISIBLE = 0.5
"""A box of which a smaller fraction of the area is inside a crop is left out of it."""
NAME = "tree crown"


def write_tiles(source: Path, target: Path) -> dict[str, tuple[int, int]]:
    """Cut the images into crops that do not overlap, whatever is left at the right and at the bottom is dropped.

    Args:
        source: Folder of the images and their XML files.
        target: Folder to write: `NAME_row_column.png` and `.xml`, and `ImageSets/Main/*.txt`.

    Returns:
        Crops and boxes of each split.
    """
    lists = target / "ImageSets" / "Main"
    lists.mkdir(parents=True, exist_ok=True)
    counts = {}
    for split, names in IMAGES.items():
        written = [crop for name in names for crop in write_crops(read_voc(source / f"{name}.xml"), source, target)]
        (lists / f"{split}.txt").write_text("".join(f"{name}\n" for name, _ in written), encoding="utf-8")
        counts[split] = (len(written), sum(boxes for _, boxes in written))
    return counts


def write_crops(annotated: VocImage, source: Path, target: Path) -> list[tuple[str, int]]:
    """Write the crops of one image; names, and numbers of boxes."""
    written = []
    with Image.open(source / f"{annotated.file.stem}.png") as opened:
        image = opened.convert("RGB")
    for top in range(0, image.height - TILE + 1, TILE):
        for left in range(0, image.width - TILE + 1, TILE):
            name = f"{annotated.file.stem}_{top}_{left}"
            boxes = [box for each in annotated.boxes if (box := clip(each, left, top)) is not None]
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
