"""Groups of image files: the table, and the groups of test files by source."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from compress.core.errors import DataError
from compress.data.factory import data_fingerprint, load_data
from compress.data.file_groups import groups_of_files, read_groups
from compress.data.settings import DataSettings


def draw(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(path)


@pytest.fixture
def photos(tmp_path):
    root, seed = tmp_path / "photos", 0
    for split in ("train", "val", "test"):
        for label in ("cat", "dog"):
            for index in range(4):
                draw(root / split / label / f"{index}.png", seed := seed + 1)
    return root


def write_table(path: Path, rows: dict[str, str]) -> None:
    path.write_text("file,group\n" + "".join(f"{file},{group}\n" for file, group in rows.items()), encoding="utf-8")


def test_test_images_of_a_folder_have_the_groups_of_the_table_in_the_order_of_the_split(photos, tmp_path):
    rows = {f"test/{label}/{index}.png": f"camera {index % 2}" for label in ("cat", "dog") for index in range(4)}
    write_table(tmp_path / "cameras.csv", rows | {"train/cat/0.png": "camera 9"})
    data = load_data(DataSettings(source="imagefolder:photos", image_size=16, groups="cameras.csv"), base=tmp_path)
    names = [Path(name).relative_to(photos).as_posix() for name in data.test.names()]
    assert len(names) == 8
    assert list(data.groups) == [rows[name] for name in names]


def test_a_file_without_a_group_is_counted_and_left_out(photos, tmp_path):
    write_table(tmp_path / "cameras.csv", {"test/cat/0.png": "far", "test/dog/1.png": "near"})
    data = load_data(DataSettings(source=f"imagefolder:{photos}", image_size=16, groups="cameras.csv"), base=tmp_path)
    assert sorted(filter(None, data.groups)) == ["far", "near"]
    fact = next(fact for fact in data.warnings if fact.code == "data.files_without_group")
    assert fact.values == {"files": 6, "total": 8}


def test_images_of_coco_have_groups(tmp_path):
    for name, seed in (("train", 0), ("val", 40), ("test", 80)):
        images = [{"id": index, "file_name": f"{name}{index}.png", "width": 16, "height": 16} for index in range(4)]
        boxes = [{"image_id": index, "category_id": 1, "bbox": [2, 2, 6, 6]} for index in range(4)]
        content = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "part"}]}
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
        for index in range(4):
            draw(tmp_path / "images" / f"{name}{index}.png", seed + index)
    write_table(tmp_path / "lines.csv", {f"images/test{index}.png": f"line {index}" for index in range(4)})
    data = load_data(DataSettings(source="coco:.", image_size=16, groups="lines.csv"), base=tmp_path)
    assert sorted(data.groups) == [f"line {index}" for index in range(4)]


def test_the_fingerprint_follows_the_table(photos, tmp_path):
    settings = DataSettings(source=f"imagefolder:{photos}", groups="cameras.csv")
    write_table(tmp_path / "cameras.csv", {"test/cat/0.png": "far"})
    first = data_fingerprint(settings, tmp_path)
    write_table(tmp_path / "cameras.csv", {"test/cat/0.png": "near"})
    assert data_fingerprint(settings, tmp_path) != first


def test_a_table_that_names_no_test_file_is_refused_with_the_nearest_name(photos):
    files = [str(photos / "test/cat/0.png")]
    with pytest.raises(DataError, match=r"no test file.*such as test/cat/0\.png.*tests/cat/0\.png"):
        groups_of_files(files, photos, {"tests/cat/0.png": "far"}, "cameras.csv")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"name,group\na,b\n", "has the columns name, group; a table of groups needs file, group"),
        (b"", "has the columns none"),
        (b"file,group\na.png,one\na.png,two\n", "line 3: a.png is in group one and in group two"),
        ("file,group\nä.png,one\n".encode("utf-16"), "cannot read the groups"),
        (b"file,group\na.png,\"one\n", None),
    ],
)  # fmt: skip
def test_a_faulty_table_is_refused(content, message, tmp_path):
    path = tmp_path / "groups.csv"
    path.write_bytes(content)
    if message is None:
        assert read_groups(path) == {"a.png": "one"}
        return
    with pytest.raises(DataError, match=message):
        read_groups(path)


def test_a_missing_table_and_a_source_without_files_are_refused(tmp_path):
    with pytest.raises(DataError, match="cannot read"):
        read_groups(tmp_path / "none.csv")
    with pytest.raises(DataError, match="digits has no image files that a table of groups could name"):
        load_data(DataSettings(source="digits", groups="none.csv"), base=tmp_path)
