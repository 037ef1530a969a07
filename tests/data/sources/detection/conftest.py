"""A folder of ten images of 40 × 30 pixels, to be annotated by the tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from compress.data.settings import DataSettings


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    """Ten files, each of one grey level, in `images/`."""
    folder = tmp_path / "images"
    folder.mkdir()
    files = [folder / f"{index}.png" for index in range(10)]
    for index, file in enumerate(files):
        Image.new("RGB", (40, 30), (20 * index,) * 3).save(file)
    return files


@pytest.fixture
def settings() -> DataSettings:
    """Of images of 32 pixels."""
    return DataSettings(image_size=32, augment="none", validation=0.2, test=0.2)
