"""YOLO's text labels."""

from __future__ import annotations

from pathlib import Path

import pytest

from compress.core.errors import DataError
from compress.data.detection_targets import BOXES, CLASSES
from compress.data.settings import DataSettings, DataSource
from compress.data.sources.detection.yolo import load, read_classes


@pytest.fixture
def labels(tmp_path: Path, images: list[Path]) -> Path:
    """A label file for all images but the first."""
    folder = tmp_path / "labels"
    folder.mkdir()
    for index, file in enumerate(images[1:]):
        (folder / f"{file.stem}.txt").write_text(f"{index % 2} 0.5 0.5 0.25 0.5\n")
    (tmp_path / "classes.txt").write_text("nut\nbolt\n")
    return folder


def test_fractions_become_pixels(tmp_path: Path, labels: Path, settings: DataSettings) -> None:
    data = load(settings, DataSource("yolo", ".", tmp_path))
    assert data.spec.classes == ("nut", "bolt")
    batches = [next(iter(split.ordered(10))) for split in (data.train, data.validation, data.test)]
    assert [batch.size for batch in batches] == [6, 2, 2]
    boxes = {tuple(map(round, box)) for batch in batches for box in batch.targets[BOXES][batch.targets[CLASSES] >= 0].tolist()}
    assert boxes == {(12, 8, 20, 24)}
    assert sum(int((batch.targets[CLASSES] >= 0).sum()) for batch in batches) == 9, "one image has no label file"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("2 0.5 0.5 0.1 0.1", "3.txt, line 1 names class 2, and there are classes 0 to 1"),
        ("0 0.5 0.5 0.1", "write: class x y width height"),
        ("nut 0.5 0.5 0.1 0.1", "write: class x y width height"),
        ("0 0.5 0.5 1.5 0.1", "outside its image"),
        ("0 0.5 0.5 0 0.1", "no area"),
    ],
)
def test_unfit_lines_are_named(tmp_path: Path, labels: Path, settings: DataSettings, line: str, message: str) -> None:
    (labels / "3.txt").write_text(f"{line}\n")
    with pytest.raises(DataError, match=message):
        load(settings, DataSource("yolo", ".", tmp_path))


def test_labels_without_an_image_are_refused(tmp_path: Path, labels: Path, settings: DataSettings) -> None:
    (labels / "other.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    with pytest.raises(DataError, match=r"1 label files have no image .*other\.txt"):
        load(settings, DataSource("yolo", ".", tmp_path))


def test_class_names_of_a_data_file(tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text("names: {0: a, 1: b}\n")
    assert read_classes(tmp_path) == ("a", "b")
    (tmp_path / "data.yaml").write_text("names: [c, d]\n")
    assert read_classes(tmp_path) == ("c", "d")
    (tmp_path / "data.yaml").write_text("names: {1: a, 2: b}\n")
    with pytest.raises(DataError, match="write 0 to 1"):
        read_classes(tmp_path)
    (tmp_path / "data.yaml").write_text("names: {1: [\n")
    with pytest.raises(DataError, match="cannot read the class names"):
        read_classes(tmp_path)
    (tmp_path / "data.yaml").write_text("path: x\n")
    with pytest.raises(DataError, match="names no classes"):
        read_classes(tmp_path)


def test_a_folder_without_images_is_refused(tmp_path: Path, settings: DataSettings) -> None:
    with pytest.raises(DataError, match="has no folder images/"):
        load(settings, DataSource("yolo", ".", tmp_path))
