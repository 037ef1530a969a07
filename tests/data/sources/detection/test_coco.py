"""COCO's JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from compress.core.errors import DataError
from compress.data.settings import DataSettings, DataSource
from compress.data.sources.detection.coco import load, read_coco


def content(images: list[Path]) -> dict[str, Any]:
    return {
        "images": [{"id": 7 + i, "file_name": file.name, "width": 40, "height": 30} for i, file in enumerate(images)],
        "annotations": [
            {"image_id": 7, "category_id": 90, "bbox": [5, 6, 10, 20]},
            {"image_id": 8, "category_id": 3, "bbox": [0, 0, 40, 30], "iscrowd": 0},
            {"image_id": 8, "category_id": 3, "bbox": [1, 1, 2, 2], "iscrowd": 1},
        ],
        "categories": [{"id": 90, "name": "dog"}, {"id": 3, "name": "cat"}],
    }


def written(tmp_path: Path, content: object, name: str = "all.json") -> Path:
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_boxes_become_corners_and_categories_are_numbered(tmp_path: Path, images: list[Path]) -> None:
    files, classes = read_coco(written(tmp_path, content(images)))
    assert classes == ("cat", "dog")
    assert files[0].boxes == ((5.0, 6.0, 15.0, 26.0),)
    assert files[0].classes == (1,)
    assert files[1].boxes == ((0.0, 0.0, 40.0, 30.0),), "crowds are left out"
    assert files[2].boxes == ()
    assert [file.path for file in files] == images


def test_a_folder_holds_one_file_for_each_split(tmp_path: Path, images: list[Path], settings: DataSettings) -> None:
    for name in ("train", "val", "test"):
        written(tmp_path, content(images), f"{name}.json")
    data = load(settings, DataSource("coco", ".", tmp_path))
    assert [len(split) for split in (data.train, data.validation, data.test)] == [10, 10, 10]
    other = content(images) | {"categories": [{"id": 90, "name": "wolf"}, {"id": 3, "name": "cat"}]}
    written(tmp_path, other, "val.json")
    with pytest.raises(DataError, match="has the categories cat, wolf"):
        load(settings, DataSource("coco", ".", tmp_path))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ([], "holds a list"),
        ({"images": None}, "is not COCO"),
        ({"annotations": [{"image_id": 99, "category_id": 3, "bbox": [0, 0, 1, 1]}]}, "annotates image 99"),
        ({"annotations": [{"image_id": 7, "category_id": 4, "bbox": [0, 0, 1, 1]}]}, "category 4 in image 7, which is not"),
        ({"annotations": [{"image_id": 7, "category_id": 3, "bbox": [0, 0, 1]}]}, r"bbox \[0, 0, 1\] in image 7; write"),
        ({"annotations": [7]}, "is not COCO"),
    ],
)
def test_malformed_files_are_refused(tmp_path: Path, images: list[Path], change: Any, message: str) -> None:
    path = written(tmp_path, content(images) | change if isinstance(change, dict) else change)
    with pytest.raises(DataError, match=message):
        read_coco(path)


def test_a_missing_file_is_named(tmp_path: Path, settings: DataSettings) -> None:
    with pytest.raises(DataError, match=r"cannot read .*none\.json"):
        load(settings, DataSource("coco", "none.json", tmp_path))
    with pytest.raises(DataError, match=r"has no train\.json"):
        load(settings, DataSource("coco", ".", tmp_path))
