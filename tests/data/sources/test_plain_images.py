"""`images:`: pixels as a network takes them, without labels."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from compress.core.errors import DataError
from compress.core.sentences import render
from compress.data.settings import DataSettings, DataSource
from compress.data.sources.plain_images import load


def folder(root: Path, count: int = 6) -> Path:
    for index in range(count):
        Image.new("RGB", (20, 10), (51 * (index % 5), 0, 255)).save(root / f"{index}.png")
    return root


def test_pixels_are_scaled_normalised_and_of_the_size_asked_for(tmp_path: Path) -> None:
    settings = DataSettings(
        source="images:x", mean=(0.0, 0.5, 1.0), std=(1.0, 0.5, 2.0), sizes={"height": 16, "width": 24}, test=0.2
    )
    data = load(settings, DataSource("images", str(folder(tmp_path)), tmp_path))
    batch = next(iter(data.train.ordered(8)))
    assert batch.input.shape[1:] == (3, 16, 24)
    torch.testing.assert_close(batch.input[:, 1], torch.full_like(batch.input[:, 1], -1.0))
    assert float(batch.input[:, 2].abs().max()) == 0
    assert {round(level, 3) for level in batch.input[:, 0].unique().tolist()} <= {0.0, 0.2, 0.4, 0.6, 0.8}
    assert batch.targets == {}
    assert data.warnings == ()


def test_without_a_mean_imagenets_is_used_and_said(tmp_path: Path) -> None:
    data = load(DataSettings(source="images:x"), DataSource("images", str(folder(tmp_path)), tmp_path))
    assert "of ImageNet" in render(data.warnings[0])
    assert data.spec.shape == (3, 64, 64)
    with pytest.raises(DataError, match="have 2 values, and images have 3 channels"):
        load(DataSettings(source="images:x", mean=(0.0, 0.0), std=(1.0, 1.0)), DataSource("images", str(tmp_path), tmp_path))


def test_a_damaged_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no image")
    data = load(DataSettings(source="images:x"), DataSource("images", str(tmp_path), tmp_path))
    with pytest.raises(DataError, match=r"bad\.png"):
        next(iter(data.train.ordered(1)))
