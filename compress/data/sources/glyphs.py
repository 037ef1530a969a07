"""`glyphs`: digits and letters of the fonts of matplotlib, a synthetic data set of any size from a seed.

62 classes, [0-9A-Za-z]. Each character of each font is drawn once with Pillow; every sample then warps one of those by a
random affine map and changes contrast, sharpness, polarity and noise:

    x ← warp(glyph; rotation ±15°, shear ±0.25, scale 0.75–1.2, shift ±10 %)          one bilinear grid sample
    x ← (1 − b) · x + b · gauss₃(x),          b ~ U(0, 1)
    x ← low + (high − low) · x,               low ~ U(0, 0.35), high ~ U(0.65, 1), swapped with probability ½
    x ← clip(x + s · n, 0, 1),                s ~ U(0, 0.12), n ~ N(0, 1)

Glyphs keep their size relative to the font, so that o, O and 0 differ, though not always by much. Test images are from
font families that training does not use; validation images are other images of the training families.
"""

from __future__ import annotations

import math
import string
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import numpy as np
import psutil
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from compress.core.errors import DataError
from compress.core.language import gettext
from compress.core.seed_of import seed_of
from compress.data.build_image_data import ArrayPart, from_arrays
from compress.data.interface import Data
from compress.data.settings import DataSettings, DataSource, Size

CHARACTERS = string.digits + string.ascii_uppercase + string.ascii_lowercase

FAMILIES: dict[str, tuple[str, ...]] = {
    "DejaVu Sans": ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSans-BoldOblique"),
    "DejaVu Sans Mono": ("DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSansMono-Oblique", "DejaVuSansMono-BoldOblique"),
    "DejaVu Serif": ("DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic", "DejaVuSerif-BoldItalic"),
    "STIX General": ("STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta"),
    "Computer Modern Roman": ("cmr10", "cmb10", "cmti10"),
    "Computer Modern Sans": ("cmss10",),
    "Computer Modern Typewriter": ("cmtt10",),
}
"""Files of the fonts that have all 62 characters in their ordinary form (`cmmi10` has old-style figures)."""

_LARGEST_MASTER = 256
_CHUNK_PIXELS = 2**20


def load(settings: DataSettings, origin: DataSource) -> Data:  # noqa: ARG001
    """Draw `samples` training images, `validation` · `samples` validation and `test` · `samples` test images.

    Raises:
        DataError: A font is missing, or the images would not fit in memory.
    """
    training, held = split_families(settings.seed)
    validation = max(len(CHARACTERS), round(settings.samples * settings.validation))
    test = max(len(CHARACTERS), round(settings.samples * settings.test))
    _check_memory(settings.samples + validation + test, settings.size)
    size, seed = settings.size, settings.seed
    return from_arrays(
        draw(training, settings.samples, size, seed_of("glyphs", "train", seed)),
        draw(training, validation, size, seed_of("glyphs", "validation", seed)),
        draw(held, test, size, seed_of("glyphs", "test", seed)),
        classes=list(CHARACTERS),
        settings=settings,
    )


def split_families(seed: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the five families to train on and of the two to test on."""
    order = np.random.default_rng([seed, 3]).permutation(len(FAMILIES))
    names = [list(FAMILIES)[index] for index in order]
    return tuple(names[2:]), tuple(names[:2])


def draw(families: tuple[str, ...], count: int, size: Size, seed: int) -> ArrayPart:
    """Draw `count` images from these families: classes, families and the styles of a family are equally frequent.

    Returns:
        Images uint8 (count, 1, H, W) and labels int64 (count,).
    """
    generator = torch.Generator().manual_seed(seed)
    edge = min(2 * min(size), _LARGEST_MASTER)
    masters = [torch.stack([_masters(file, edge) for file in FAMILIES[name]]) for name in families]
    labels = torch.arange(count) % len(CHARACTERS)
    labels = labels[torch.randperm(count, generator=generator)]
    family = torch.randint(len(families), (count,), generator=generator)
    style = torch.rand(count, generator=generator)
    images = torch.empty((count, 1, *size), dtype=torch.uint8)
    chunk = max(1, _CHUNK_PIXELS // math.prod(size))
    for start in range(0, count, chunk):
        rows = range(start, min(start + chunk, count))
        chosen = [masters[family[i]][int(style[i] * len(masters[family[i]])), labels[i]] for i in rows]
        images[start : rows.stop] = _vary(torch.stack(chosen).unsqueeze(1), size, generator)
    return images, labels.numpy()


def _masters(name: str, size: int) -> Tensor:
    """All characters of one font, white on black, uint8 (62, size, size), on a common baseline."""
    file = Path(mpl.get_data_path()) / "fonts" / "ttf" / f"{name}.ttf"
    if not file.is_file():
        msg = gettext(
            "matplotlib {version} does not ship the font {file}; reinstall matplotlib, or use another data source",
            version=mpl.__version__,
            file=file,
        )
        raise DataError(msg)
    font = ImageFont.truetype(file, round(0.75 * size))
    drawn = []
    for character in CHARACTERS:
        image = Image.new("L", (size, size))
        left, _, right, _ = font.getbbox(character, anchor="ls")
        ImageDraw.Draw(image).text(((size - left - right) / 2, 0.72 * size), character, fill=255, font=font, anchor="ls")
        drawn.append(torch.from_numpy(np.array(image)))
    return torch.stack(drawn)


def _vary(glyphs: Tensor, size: Size, generator: torch.Generator) -> Tensor:
    """Warp, blur, contrast, noise: uint8 (N, 1, h, w) → uint8 (N, 1, H, W), the glyph in the middle square."""
    count = len(glyphs)

    def uniform(low: float, high: float) -> Tensor:
        return torch.rand((count, 1, 1, 1), generator=generator) * (high - low) + low

    # Coordinates run from -1 to 1 along each side; the square of the glyph covers the shorter one.
    sides = torch.tensor([size[1] / min(size), size[0] / min(size), 1.0])
    grid = F.affine_grid(_affine(uniform) * sides, [count, 1, *size], align_corners=False)
    image = F.grid_sample(glyphs.to(torch.float32) / 255, grid, align_corners=False)
    kernel = torch.tensor([1.0, 2.0, 1.0]) / 4
    image = torch.lerp(image, F.conv2d(image, torch.outer(kernel, kernel).view(1, 1, 3, 3), padding=1), uniform(0.0, 1.0))
    low, high = uniform(0.0, 0.35), uniform(0.65, 1.0)
    swap = uniform(0.0, 1.0) < 0.5
    low, high = torch.where(swap, high, low), torch.where(swap, low, high)
    noise = uniform(0.0, 0.12) * torch.randn(image.shape, generator=generator)
    return (low + (high - low) * image + noise).clamp_(0, 1).mul_(255).round_().to(torch.uint8)


def _affine(uniform: Callable[[float, float], Tensor]) -> Tensor:
    """Random maps from output to glyph coordinates, (N, 2, 3): rotation · shear / scale, then a shift."""
    angle, shear, scale = uniform(-math.pi / 12, math.pi / 12), uniform(-0.25, 0.25), uniform(0.75, 1.2)
    cosine, sine = angle.cos() / scale, angle.sin() / scale
    rows = [cosine, shear * cosine - sine, uniform(-0.2, 0.2), sine, shear * sine + cosine, uniform(-0.2, 0.2)]
    return torch.cat(rows, dim=1).view(-1, 2, 3)


def _check_memory(count: int, size: Size) -> None:
    needed, free = count * math.prod(size), psutil.virtual_memory().available
    if needed > free / 2:
        msg = gettext(
            "glyphs: {count} images of {size} × {width} need {needed:.1f} GiB, {free:.1f} GiB are free; "
            "lower `samples` or `image_size`",
            count=count,
            size=size[0],
            width=size[1],
            needed=needed / 2**30,
            free=free / 2**30,
        )
        raise DataError(msg)
