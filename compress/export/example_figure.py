"""`figures/examples.png`: validation images with their targets and the outputs of the artifact."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch, Rectangle
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from compress.backends.iterate_split import iterate_split
from compress.core.atomic_files import atomic_write
from compress.core.plot_style import COLORS, INK, LABEL_STYLE, escape_text, new_figure, to_png
from compress.core.stage import Candidate, Context
from compress.data.denormalise import to_pixels
from compress.tasks.overlay import Boxes, HasOverlays, Mask, Overlay

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIGURE = Path("figures", "examples.png")
IMAGES = 6
PALETTE = (*COLORS, "#e0c341", "#5bbf8c", "#e58a9f", "#6a6fd0", "#96603a", "#8fb7e3", "#4d5b66")
"""Colours of classes; they repeat if there are more classes."""
MOST_NAMES = 14
"""Largest number of classes in the legend; with more, colours would repeat."""
WIDTH = 7.2
"""Width of the figure, inches."""


def save_examples(shipped: Candidate, context: Context) -> None:
    """Draw the first validation images, if the task has overlays for them.

    Args:
        shipped: ONNX files; the file selected for this machine is run.
        context: Data, task and output folder.
    """
    task, spec = context.task, shipped.spec
    if not isinstance(task, HasOverlays) or "image_input" not in task.capabilities_for(spec):
        return
    runtime, file = shipped.artifact
    parts = iterate_split(file, context.data.validation, task, batch_size=IMAGES, runtime=runtime)
    outputs, batch = next(iter(parts))
    images = to_pixels(batch.input[:IMAGES].cpu(), spec)
    rows = {"true": task.true_overlays(batch.to("cpu").targets), "artifact": task.overlays(outputs)}
    caption = (
        f"the first {len(images)} validation images: targets above, outputs of the artifact ({file.name} in {runtime}) below; "
        "an illustration, no substitute for the metrics."
    )
    with atomic_write(context.folder / FIGURE) as aside:
        aside.write_bytes(to_png(draw_examples(images, rows, spec.classes), caption))


def draw_examples(images: NDArray[np.uint8], rows: dict[str, list[Overlay]], classes: Sequence[str]) -> Figure:
    """A figure with a column per image and a row per list of overlays; with masks, the first row shows the images.

    Args:
        images: uint8 (N, H, W, C).
        rows: Overlays of at least N images by row name.
        classes: Class names.
    """
    with_masks = any(not isinstance(overlay, Boxes) for overlays in rows.values() for overlay in overlays)
    names = [*(["image"] if with_masks else []), *rows]
    count, (height, width) = len(images), images.shape[1:3]
    cell = WIDTH / max(count, 3)
    figure = new_figure(WIDTH, 0.45 + len(names) * cell * height / width)
    axes = figure.subplots(len(names), count, squeeze=False)
    used = set[int]()
    for row, name in enumerate(names):
        axes[row, 0].set_ylabel(name, fontsize=8, color=INK)
        for column, image in enumerate(images):
            axis = axes[row, column]
            overlay = rows[name][column] if name in rows else None
            _draw(axis, image, overlay)
            axis.set(xticks=[], yticks=[], xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
            used |= set() if overlay is None else set(_classes_of(overlay).tolist())
    _add_legend(figure, sorted(used), classes)
    return figure


def _classes_of(overlay: Overlay) -> Mask:
    """Indices of the classes in an overlay, sorted."""
    numbers = np.unique(overlay.classes if isinstance(overlay, Boxes) else overlay)
    return numbers[numbers >= 0]


def _draw(axis: Axes, image: NDArray[np.uint8], overlay: Overlay | None) -> None:
    """Draw an image with its boxes, or the colours of a mask without the image."""
    if overlay is None or isinstance(overlay, Boxes):
        axis.imshow(image.squeeze(), cmap="gray", vmin=0, vmax=255)
    else:
        axis.imshow(_coloured(overlay))
    if isinstance(overlay, Boxes):
        scores = [None] * len(overlay.corners) if overlay.scores is None else overlay.scores.tolist()
        for (x1, y1, x2, y2), number, score in zip(overlay.corners.tolist(), overlay.classes.tolist(), scores, strict=True):
            color = PALETTE[number % len(PALETTE)]
            place, halo = (x1 - 0.5, y1 - 0.5), [withStroke(linewidth=2.4, foreground="white")]
            frame = Rectangle(place, x2 - x1, y2 - y1, fill=False, edgecolor=color, linewidth=1.2, path_effects=halo)
            axis.add_patch(frame)
            if score is not None:
                text = LABEL_STYLE | {"fontsize": 5, "color": color}
                axis.annotate(f"{score:.2f}", (x1, y1), (0, 1), textcoords="offset points", annotation_clip=True, **text)


def _coloured(mask: Mask) -> NDArray[np.uint8]:
    """Colours of the classes, uint8 (H, W, 3); white for pixels without a class."""
    colours = np.array([[int(color[start : start + 2], 16) for start in (1, 3, 5)] for color in PALETTE], np.uint8)
    pixels = colours[mask % len(PALETTE)]
    pixels[mask < 0] = 255
    return pixels


def _add_legend(figure: Figure, used: Sequence[int], classes: Sequence[str]) -> None:
    labelled = [number for number in used if number < len(classes)]
    if not labelled or len(labelled) > MOST_NAMES or max(labelled) >= len(PALETTE):
        return
    patches = [Patch(color=PALETTE[number], label=escape_text(classes[number])) for number in labelled]
    figure.legend(handles=patches, loc="outside lower center", ncols=min(7, len(patches)), fontsize=7, frameon=False)
