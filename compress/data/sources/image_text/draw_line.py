"""Draw a line of words and numbers with the fonts of matplotlib, on a ground with a gradient, slightly turned. Synthetic."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from compress.data.settings import Size

LETTERS, DIGITS = "abcdefghijklmnopqrstuvwxyz", "0123456789"
FONTS = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSerif", "DejaVuSansMono", "STIXGeneral", "DejaVuSerif-Italic")
MOST_CHARACTERS = 12
LEAST_CONTRAST = 70
"""Smallest difference of the levels of text and ground, of 255."""
NOISE = 8.0
"""Largest standard deviation of the noise, of 255 levels."""
OVERSAMPLING = 2
TURN = 2.0
"""Largest angle of the line, degrees."""

Generator = np.random.Generator


def draw_line(generator: Generator, size: Size) -> tuple[NDArray[np.uint8], str]:
    """One line.

    Args:
        generator: Of all that is random.
        size: H and W.

    Returns:
        The image, uint8 (3, H, W), and its text.
    """
    height, width = size
    text = line_text(generator)
    font_file = Path(mpl.get_data_path()) / "fonts" / "ttf" / f"{generator.choice(FONTS)}.ttf"
    large = width * OVERSAMPLING, height * OVERSAMPLING
    extent = ImageFont.truetype(str(font_file), 100).getlength(text) / 100
    points = min(0.9 * large[0] / extent, generator.uniform(0.6, 0.85) * large[1])
    font = ImageFont.truetype(str(font_file), max(8, int(points)))
    free = large[0] - font.getlength(text)
    canvas = Image.new("L", large)
    place = (generator.uniform(0.05, 0.95) * free, large[1] * generator.uniform(0.46, 0.54))
    ImageDraw.Draw(canvas).text(place, text, fill=255, font=font, anchor="lm")
    turned = canvas.rotate(generator.uniform(-TURN, TURN), Image.Resampling.BILINEAR)
    ink = np.asarray(turned.resize((width, height), Image.Resampling.BOX), dtype=np.float64)[..., None] / 255
    ground, colour = _levels(generator)
    slope = np.linspace(-1, 1, width)[None, :, None] * generator.uniform(-20, 20)
    noise = generator.normal(0.0, generator.uniform(0.0, NOISE), (height, width, 3))
    pixels = np.clip((ground + slope) * (1 - ink) + colour * ink + noise, 0, 255)
    return np.ascontiguousarray(np.rint(pixels).astype(np.uint8).transpose(2, 0, 1)), text


def line_text(generator: Generator) -> str:
    """One to three words or numbers, at most `MOST_CHARACTERS` characters."""
    parts: list[str] = []
    for _ in range(int(generator.integers(1, 4))):
        kind = LETTERS if generator.random() < 0.65 else DIGITS
        parts.append("".join(generator.choice(list(kind), int(generator.integers(2, 7)))))
    text = parts[0]
    for part in parts[1:]:
        if len(text) + 1 + len(part) <= MOST_CHARACTERS:
            text = f"{text} {part}"
    return text


def _levels(generator: Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Colours of ground and text, (3,) each, that differ in brightness."""
    while True:
        ground, colour = generator.uniform(20, 235, (2, 3))
        if abs(ground.mean() - colour.mean()) >= LEAST_CONTRAST:
            return ground, colour
