"""Checks of boxes and files, and the splits."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from compress.core.errors import DataError
from compress.data.detection_targets import BOXES, CLASSES
from compress.data.factory import data_fingerprint
from compress.data.settings import DataSettings
from compress.data.sources.detection.annotations import AnnotatedFile, AnnotatedImages, build_from_files, check_boxes

BOX = (10.0, 5.0, 30.0, 25.0)


@pytest.fixture
def files(images: list[Path]) -> list[AnnotatedFile]:
    return [AnnotatedFile(file, (40, 30), (BOX,), (index % 2,)) for index, file in enumerate(images)]


def test_three_splits_without_a_common_image(files: list[AnnotatedFile], settings: DataSettings) -> None:
    data = build_from_files({"train": files}, ("a", "b"), settings)
    assert [len(split) for split in (data.train, data.validation, data.test)] == [6, 2, 2]
    assert data.warnings == ()
    batch = next(iter(data.train.ordered(6)))
    assert batch.targets[BOXES][0, 0].tolist() == [pytest.approx(value) for value in (8, 16 / 3, 24, 80 / 3)]
    levels = [float(batch.input[row].mean()) for row in range(6)]
    assert len(set(levels)) == 6


def test_named_splits_are_kept_and_an_image_in_two_is_reported(files: list[AnnotatedFile], settings: DataSettings) -> None:
    data = build_from_files({"train": files[:6], "val": files[5:8], "test": files[8:]}, ("a", "b"), settings)
    assert [len(split) for split in (data.train, data.validation, data.test)] == [6, 3, 2]
    tested = build_from_files({"train": files[:6], "val": files[6:]}, ("a", "b"), settings)
    assert len(tested.test) == 4, "as of image folders: val alone is what the final figures come from"
    assert len(tested.train) + len(tested.validation) == 6
    assert [fact.code for fact in data.warnings] == ["data.duplicates_between_splits"]


def test_an_image_without_boxes_is_a_sample_and_a_split_without_any_is_refused(
    files: list[AnnotatedFile], settings: DataSettings
) -> None:
    empty = [replace(file, boxes=(), classes=()) for file in files]
    data = build_from_files({"train": [files[0], empty[1]], "val": files[2:4], "test": files[4:5]}, ("a", "b"), settings)
    assert bool((next(iter(data.train.ordered(2))).targets[CLASSES][1] == -1).all())
    with pytest.raises(DataError, match="2 validation images have no box"):
        build_from_files({"train": files[:2], "val": empty[2:4], "test": files[4:5]}, ("a", "b"), settings)


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ((10.0, 5.0, 10.0, 25.0), "1 box has no area"),
        ((30.0, 5.0, 10.0, 25.0), "1 box has no area"),
        ((10.0, 5.0, 43.0, 25.0), "1 box is outside its image"),
        ((-3.0, 5.0, 30.0, 25.0), "1 box is outside its image"),
        ((float("nan"), 5.0, 30.0, 25.0), "1 box is not finite"),
    ],
)
def test_unfit_boxes_are_named(files: list[AnnotatedFile], box: tuple[float, float, float, float], message: str) -> None:
    with pytest.raises(DataError, match=message) as error:
        check_boxes([*files, replace(files[3], boxes=(box,))])
    assert "3.png" in str(error.value)


def test_a_box_over_the_edge_by_a_pixel_is_clipped(files: list[AnnotatedFile]) -> None:
    (file,) = check_boxes([replace(files[0], boxes=((-0.5, 1.0, 41.0, 30.0),))])
    assert file.boxes == ((0.0, 1.0, 40.0, 30.0),)


def test_missing_and_exchanged_images_are_refused(files: list[AnnotatedFile], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="1 annotated image is missing"):
        check_boxes([replace(files[0], path=tmp_path / "none.png")])
    with pytest.raises(DataError, match="40×30 pixels, its annotation says 30×40"):
        AnnotatedImages((replace(files[0], size=(30, 40)),), 3).read(0)


def test_unfit_settings_are_refused(files: list[AnnotatedFile], settings: DataSettings) -> None:
    with pytest.raises(DataError, match="randaugment does not move boxes"):
        build_from_files({"train": files}, ("a", "b"), settings.model_copy(update={"augment": "randaugment"}))
    with pytest.raises(DataError, match="names no class"):
        build_from_files({"train": files}, (), settings)
    with pytest.raises(DataError, match="0 training images"):
        build_from_files({"train": files[:1]}, ("a",), settings)


def test_the_digest_depends_on_the_boxes(files: list[AnnotatedFile]) -> None:
    reader, same = (AnnotatedImages(tuple(files), 3) for _ in range(2))
    assert reader.digest == same.digest
    assert reader.digest != AnnotatedImages((*files[:-1], replace(files[-1], classes=(0,))), 3).digest
    image, boxes, classes = reader.read(3)
    assert image.shape == (3, 30, 40)
    assert torch.equal(boxes, torch.tensor([BOX]))
    assert classes.tolist() == [1]


@pytest.mark.parametrize("source", ["voc:.", "yolo:.", "coco:.", "coco:boxes.json"])
def test_the_key_of_a_run_follows_annotations_and_images(source: str, tmp_path: Path, images: list[Path]) -> None:
    """A run whose labels were corrected was taken for the one before."""
    annotations = [tmp_path / "boxes.json"] if source.endswith("json") else [tmp_path / "0.xml", tmp_path / "train.json"]
    for file in annotations:
        file.write_text("{}")
    seen = [data_fingerprint(DataSettings(source=source), tmp_path)]
    for file in (*annotations, images[3]):
        file.write_bytes(file.read_bytes() + b" ")
        seen.append(data_fingerprint(DataSettings(source=source), tmp_path))
    assert all(before != after for before, after in pairwise(seen))


def test_the_key_of_drawn_scenes_follows_what_draws_them(tmp_path: Path) -> None:
    assert {"matplotlib", "pillow"} <= data_fingerprint(DataSettings(source="drawn_boxes"), tmp_path).keys()


def test_a_missing_file_has_no_key(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot read"):
        data_fingerprint(DataSettings(source="coco:none.json"), tmp_path)
