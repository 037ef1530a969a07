"""`drawn_boxes`: synthetic scenes of shapes and letters with exact boxes, drawn by code from a seed.

Each scene has a background of two blended colours with noise, and 0 to 5 objects of six classes: disc, ring, square, triangle,
and the letters A and S of the font that matplotlib ships. Objects have random size (14 % to 45 % of the shorter side), colour
and, for the shapes, rotation; an object that would cover more than a quarter of another one's box is not drawn. Boxes are those
of the drawn pixels. Metrics on these scenes compare methods; they are not valid for photographs.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from compress.core.fact import Fact
from compress.core.seed_of import seed_of
from compress.data.build_image_data import channel_moments, rgb_to_grey
from compress.data.interface import Data
from compress.data.settings import DataSettings, DataSource, Size
from compress.data.sources.detection.annotations import build_detection_data
from compress.data.sources.detection.augment import Sample

CLASSES = ("disc", "ring", "square", "triangle", "letter A", "letter S")
MOST_OBJECTS = 5
SMALLEST, LARGEST = 0.14, 0.45
"""Diameter of an object, as a fraction of the shorter side of the image."""
_TRIES = 8


@dataclass(frozen=True, eq=False)
class DrawnScenes:
    """Scenes in memory.

    Attributes:
        samples: Image, boxes and classes of each.
        digest: Hash of the contents.
    """

    samples: tuple[Sample, ...]
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        digest = hashlib.sha256()
        for sample in self.samples:
            for part in sample:
                digest.update(part.numpy().tobytes())
        object.__setattr__(self, "digest", digest.hexdigest())

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def channels(self) -> int:
        """1 or 3."""
        return self.samples[0][0].shape[0]

    @property
    def most_boxes(self) -> int:
        """Largest number of boxes in a scene."""
        return max(len(boxes) for _, boxes, _ in self.samples)

    def read(self, index: int) -> Sample:
        """One scene."""
        return self.samples[index]

    def sizes(self) -> np.ndarray:
        """Sum of the pixels of each scene."""
        return np.array([int(image.sum()) for image, _, _ in self.samples], dtype=np.int64)

    def contents(self, index: int) -> bytes:
        """Hash of the pixels."""
        return hashlib.sha256(self.samples[index][0].numpy().tobytes()).digest()

    def name(self, index: int) -> str:
        """Number of the scene."""
        return f"number {index}"


def load(settings: DataSettings, origin: DataSource) -> Data:  # noqa: ARG001
    """Draw `samples` training scenes, and `validation` and `test` times as many of the other splits."""
    counts = {
        "train": min(settings.samples, settings.limit or settings.samples),
        "validation": round(settings.samples * settings.validation),
        "test": round(settings.samples * settings.test),
    }
    most = settings.evaluation_limit
    readers = []
    for name, count in counts.items():
        generator = np.random.default_rng(seed_of("drawn_boxes", name, settings.seed))
        wanted = count if most is None or name == "train" else min(count, most)
        readers.append(DrawnScenes(tuple(draw_scene(settings.size, settings.channels, generator) for _ in range(wanted))))
    mean, std = channel_moments(torch.stack([image for image, _, _ in readers[0].samples]), settings.channels)
    drawn = Fact.of("data.drawn_scenes", settings.source)
    return build_detection_data(readers, CLASSES, settings, mean=mean, std=std, skipped=(drawn,))


def draw_scene(size: Size, channels: int, generator: np.random.Generator) -> Sample:
    """One scene: image uint8 (channels, H, W), boxes (m, 4), classes int64 (m,)."""
    down, across = (np.linspace(0, 1, side) for side in size)
    ramp = down[:, None] * generator.uniform(-1, 1) + across[None] * generator.uniform(-1, 1)
    colours = generator.uniform(0, 255, (2, 3))
    blend = np.clip(ramp, 0, 1)[..., None]
    pixels = colours[0] * (1 - blend) + colours[1] * blend
    boxes: list[tuple[int, int, int, int]] = []
    classes: list[int] = []
    for _ in range(generator.integers(0, MOST_OBJECTS + 1)):
        for _ in range(_TRIES):
            number = int(generator.integers(len(CLASSES)))
            mask = object_mask(number, size, generator)
            box = mask.getbbox()
            if box is None or any(_covered(box, other) > 0.25 for other in boxes):
                continue
            opacity = np.asarray(mask, dtype=np.float64)[..., None] / 255
            pixels = pixels * (1 - opacity) + _contrasting(pixels, opacity, generator) * opacity
            boxes.append(box)
            classes.append(number)
            break
    pixels = pixels + generator.normal(0, generator.uniform(2, 14), (*size, 1))
    image = torch.from_numpy(np.clip(np.rint(pixels), 0, 255).astype(np.uint8)).permute(2, 0, 1).contiguous()
    if channels == 1:
        image = rgb_to_grey(image[None])[0]
    return image, torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4), torch.tensor(classes, dtype=torch.int64)


def _contrasting(pixels: np.ndarray, opacity: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """A colour whose mean difference from the background is at least 60 levels."""
    behind = (pixels * opacity).sum(axis=(0, 1)) / opacity.sum()
    colour: np.ndarray = generator.uniform(0, 255, 3)
    while np.abs(colour - behind).mean() < 60:
        colour = generator.uniform(0, 255, 3)
    return colour


def object_mask(number: int, size: Size, generator: np.random.Generator) -> Image.Image:
    """Mask of one object at a random place, mode L."""
    height, width = size
    diameter = min(size) * generator.uniform(SMALLEST, LARGEST)
    radius = diameter / 2
    x, y = (generator.uniform(radius, side - radius) for side in (width, height))
    mask = Image.new("L", (width, height))
    canvas = ImageDraw.Draw(mask)
    name = CLASSES[number]
    if name.startswith("letter"):
        file = Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans-Bold.ttf"
        canvas.text((x, y), name[-1], fill=255, font=ImageFont.truetype(file, diameter), anchor="mm")
    elif name in ("disc", "ring"):
        canvas.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
        if name == "ring":
            inner = 0.55 * radius
            canvas.ellipse((x - inner, y - inner, x + inner, y + inner), fill=0)
    else:
        corners = 4 if name == "square" else 3
        turn = generator.uniform(0, 2 * math.pi)
        angles = [turn + 2 * math.pi * corner / corners for corner in range(corners)]
        canvas.polygon([(x + radius * math.cos(angle), y + radius * math.sin(angle)) for angle in angles], fill=255)
    return mask


def _covered(box: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> float:
    """Area of the overlap over that of the smaller box."""
    width = min(box[2], other[2]) - max(box[0], other[0])
    height = min(box[3], other[3]) - max(box[1], other[1])
    areas = [(each[2] - each[0]) * (each[3] - each[1]) for each in (box, other)]
    return max(0, width) * max(0, height) / min(areas)
