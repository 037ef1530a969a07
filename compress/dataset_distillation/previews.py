"""Previews of a set: one PNG of each image, and a figure with a row for each class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from compress.core.atomic_files import atomic_write, write_with
from compress.core.file_name import safe_file_name
from compress.core.language import gettext
from compress.core.plot_style import INK, escape_text, new_figure, to_png
from compress.data.denormalise import to_pixels
from compress.data.sources.distilled_set import DistilledSet

PREVIEWS = "images"
FIGURE = "figures/distilled.png"
ROWS, COLUMNS = 20, 20
"""Maximum number of classes, and of images per class, in the figure."""


def write_previews(distilled: DistilledSet, folder: Path) -> None:
    """One PNG per image, in one folder per class, which `imagefolder:` can read: `images/007_seven/003.png`."""
    values, counts = to_pixels(distilled.images, distilled.spec), dict[int, int]()
    for image, target in zip(values, distilled.targets.tolist(), strict=True):
        index = counts[target] = counts.get(target, -1) + 1
        name = f"{target:03d}_{safe_file_name(distilled.spec.classes[target])}"
        preview = Image.fromarray(image.squeeze(2) if image.shape[2] == 1 else image)
        write_with(folder / name / f"{index:03d}.png", lambda path, image=preview: image.save(path, format="PNG"))  # type: ignore[misc]


def draw_figure(distilled: DistilledSet, path: Path) -> None:
    """A figure with the images in a grid: a row for each class, as many columns as there are images of one."""
    classes = distilled.spec.classes[:ROWS]
    columns = min(COLUMNS, int(torch.bincount(distilled.targets).max()))
    rows = [to_pixels(distilled.images[distilled.targets == c][:columns], distilled.spec) for c in range(len(classes))]
    grid = tile_images(rows, columns)
    width = min(7.2, 0.8 + 0.6 * columns)
    figure = new_figure(width, 0.1 + (width - 0.8) * grid.shape[0] / grid.shape[1])
    axes = figure.add_subplot()
    axes.imshow(grid.squeeze(), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    row_height = grid.shape[0] / len(rows)
    axes.set_yticks([(index + 0.5) * row_height for index in range(len(rows))], [escape_text(name) for name in classes])
    axes.set_xticks([])
    axes.tick_params(length=0, labelsize=8, labelcolor=INK)
    for side in axes.spines.values():
        side.set_visible(False)
    with atomic_write(path) as aside:
        aside.write_bytes(to_png(figure, caption(distilled, len(classes), columns)))


def tile_images(rows: Sequence[NDArray[np.uint8]], columns: int) -> NDArray[np.uint8]:
    """Images of each row (n, H, W, C), n up to `columns`, side by side with white gaps: (rows · H′, columns · W′, C)."""
    _, height, width, channels = rows[0].shape
    gap = max(1, height // 16)
    grid = np.full((len(rows), columns, height + gap, width + gap, channels), 255, dtype=np.uint8)
    for index, images in enumerate(rows):
        grid[index, : len(images), :height, :width] = images
    joined = grid.transpose(0, 2, 1, 3, 4)
    return joined.reshape(len(rows) * (height + gap), columns * (width + gap), channels)


def caption(distilled: DistilledSet, classes: int, columns: int) -> str:
    """Caption of the figure."""
    total, all_classes = len(distilled.targets), len(distilled.spec.classes)
    complete = classes == all_classes and columns >= int(torch.bincount(distilled.targets).max())
    part = (
        ""
        if complete
        else gettext("; shown are {columns} each of the first {classes} classes", columns=columns, classes=classes)
    )
    return gettext(
        "the {total} images of the set, a row for each of {all_classes} classes, made by {method}{part}.",
        total=total,
        all_classes=all_classes,
        method=distilled.about.method,
        part=part,
    )
