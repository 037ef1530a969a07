from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from compress.core.network_spec import NetworkSpec, Resize, image_spec
from compress.core.sentences import render
from compress.data.decode_image import open_image, resize_image
from compress.data.loader_resizing import find_resizing

FORMAT = {"channels": 3, "height": 16, "width": 24, "mean": (0.5, 0.4, 0.3), "std": (0.2, 0.3, 0.4), "classes": ("a", "b")}


def spec_of(**more: Any) -> NetworkSpec:
    return image_spec(**(FORMAT | more))


SPEC = spec_of()
MEAN, STD = (np.reshape(values, (3, 1, 1)) for values in (SPEC.mean, SPEC.std))


def sample(path: Path, resize: str, *, turn: bool = False) -> tuple[Path, Tensor]:
    image = resize_image(open_image(path, 3), 16, 24, resize)
    if turn:
        image = image.transpose(Image.Transpose.ROTATE_180)
    pixels = np.asarray(image).transpose(2, 0, 1) / 255
    return path, torch.from_numpy((pixels - MEAN) / STD).float()


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Two images of which one has the aspect ratio of the input."""
    paths = [tmp_path / "same.png", tmp_path / "wide.png"]
    for path, shape in zip(paths, ((40, 60), (30, 70)), strict=True):
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)).save(path)
    return paths


@pytest.mark.parametrize("resize", ["squash", "center_crop", "center_crop_unless_square"])
def test_the_resizing_of_the_samples_is_found(files: list[Path], resize: Resize) -> None:
    samples = [sample(file, resize) for file in files]
    assert find_resizing(samples, SPEC) == (resize, ())
    assert find_resizing(samples, spec_of(resize=resize)) == (resize, ())


@pytest.mark.parametrize("resize", [None, "squash"])
def test_samples_that_no_resizing_gives_are_warned_of(files: list[Path], resize: Resize | None) -> None:
    other = [sample(files[0], "squash"), sample(files[1], "squash", turn=True)]
    chosen, (fact,) = find_resizing(other, spec_of(resize=resize))
    assert chosen == resize
    assert fact.subject == str(files[1])
    assert "in infer.py and in the test loader differ" in render(fact)


def test_a_resizing_that_is_not_the_loaders_is_warned_of(files: list[Path]) -> None:
    samples = [sample(file, "center_crop") for file in files]
    assert len(find_resizing(samples, spec_of(resize="squash"))[1]) == 1


def test_a_file_that_only_the_loader_can_read_is_warned_of(files: list[Path]) -> None:
    samples = [sample(file, "squash") for file in files]
    files[1].write_bytes(b"a format of the caller's own")
    assert [fact.subject for fact in find_resizing(samples, SPEC)[1]] == [str(files[1])]


def test_nothing_is_known_without_files_or_with_channels_that_no_image_has(files: list[Path]) -> None:
    assert find_resizing([], SPEC) == (None, ())
    six = spec_of(channels=6, mean=(0.0,) * 6, std=(1.0,) * 6)
    assert find_resizing([(files[0], torch.zeros(6, 16, 24))], six) == (None, ())
