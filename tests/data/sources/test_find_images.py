"""Image files in a folder and below it."""

from __future__ import annotations

from pathlib import Path

import pytest

from compress.core.errors import DataError
from compress.data.sources.find_images import describe_files, find_images


def test_images_are_listed_in_order_and_other_files_left_out(tmp_path: Path) -> None:
    for name in ("b.PNG", "a/c.jpg", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert [path.name for path in find_images(tmp_path)] == ["c.jpg", "b.PNG"]
    before = describe_files(tmp_path)
    (tmp_path / "b.PNG").write_bytes(b"more")
    assert describe_files(tmp_path) != before


def test_folders_without_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no image"):
        find_images(tmp_path)
    with pytest.raises(DataError, match="does not exist; use the path"):
        find_images(tmp_path / "nowhere")
