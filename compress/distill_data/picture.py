"""A set to look at: one PNG of each image, and a figure with a row for each class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from compress.data.distilled import DistilledSet
from compress.files import write_with, written_aside
from compress.record import InputSpec
from compress.report.ink import INK, file_name, plain, png_of, sheet

PREVIEWS = "images"
FIGURE = "figures/distilled.png"
ROWS, COLUMNS = 20, 20
"""Most classes and images of a class that the figure shows."""


def pixels(images: Tensor, spec: InputSpec) -> NDArray[np.uint8]:
    """Images as they are seen, uint8 (N, H, W, C): normalisation undone, cut off at black and white, in 256 steps."""
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (spec.mean, spec.std))
    seen = ((images * std + mean).clamp(0, 1) * 255).round().to(torch.uint8)
    return seen.permute(0, 2, 3, 1).contiguous().numpy()


def previews(found: DistilledSet, folder: Path) -> None:
    """One PNG an image, in one folder a class, which `imagefolder:` can read: `images/007_seven/003.png`."""
    seen, counts = pixels(found.images, found.spec), dict[int, int]()
    for image, target in zip(seen, found.targets.tolist(), strict=True):
        number = counts[target] = counts.get(target, -1) + 1
        name = f"{target:03d}_{file_name(found.spec.classes[target])}"
        picture = Image.fromarray(image.squeeze(2) if image.shape[2] == 1 else image)
        write_with(folder / name / f"{number:03d}.png", lambda path, one=picture: one.save(path, format="PNG"))  # type: ignore[misc]


def draw(found: DistilledSet, path: Path) -> None:
    """A figure with the images in a grid: a row for each class, as many columns as there are images of one."""
    classes = found.spec.classes[:ROWS]
    most = min(COLUMNS, int(torch.bincount(found.targets).max()))
    figure = sheet(min(7.2, 0.9 + 0.62 * most), 0.2 + 0.62 * len(classes) * min(1.0, 10 / max(most, 1)))
    grid = figure.subplots(len(classes), most, squeeze=False, gridspec_kw={"wspace": 0.06, "hspace": 0.06})
    for c, row in enumerate(grid):
        shown = pixels(found.images[found.targets == c][:most], found.spec)
        for place, axes in enumerate(row):
            axes.set_axis_off()
            if place < len(shown):
                axes.imshow(shown[place].squeeze(), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        row[0].text(-0.25, 0.5, plain(classes[c]), transform=row[0].transAxes, ha="right", va="center", fontsize=8, color=INK)
    with written_aside(path) as aside:
        aside.write_bytes(png_of(figure, caption(found, len(classes), most)))


def caption(found: DistilledSet, classes: int, columns: int) -> str:
    """What the figure shows."""
    total, of = len(found.targets), len(found.spec.classes)
    every = classes == of and columns >= int(torch.bincount(found.targets).max())
    part = "" if every else f"; shown are {columns} each of the first {classes} classes"
    return f"the {total} images of the set, a row for each of {of} classes, made by {found.about.method}{part}."
