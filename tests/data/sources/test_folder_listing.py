import os
import subprocess
import sys

import pytest

from compress.core.errors import DataError
from compress.core.sentences import render, render_subject
from compress.data.sources.folder_listing import (
    FileWalk,
    find_splits,
    find_splits_as_classes,
    list_classes,
    listing_hash,
    printable,
)


def fill(root, *files):
    for name in files:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())


def images(root):
    listing, skipped = list_classes(root, FileWalk(root))
    return [str(file.relative_to(root)) for file in listing.files], {render_subject(fact): render(fact) for fact in skipped}


@pytest.fixture
def root(tmp_path):
    fill(tmp_path / "set", "a/1.png", "a/2.png", "b/deep/3.png", "b/4.png")
    return tmp_path / "set"


PLAIN = ["a/1.png", "a/2.png", "b/4.png", "b/deep/3.png"]


def test_files_are_listed_in_order_and_others_named(root):
    fill(root, "a/notes.txt", "a/.hidden.png", "b/.cache/5.png")
    assert images(root) == (PLAIN, {"a/notes.txt": ".txt: not a supported image format"})


@pytest.mark.parametrize(
    ("name", "target", "reason"),
    [
        ("a/gone.png", "/nowhere/x.png", "does not exist"),
        ("a/self.png", "self.png", "does not exist"),
        ("a/up", "..", "folder of the data set"),
        ("a/whole", "../..", "a folder that contains the data set"),
        ("a/other.png", "../b/4.png", "folder of the data set"),
        ("a/again", "../b", "folder of the data set"),
    ],
)
def test_links_that_lead_nowhere_or_into_the_data_set_are_skipped_by_name(root, name, target, reason):
    before = listing_hash(root)
    (root / name).symlink_to(target)
    files, skipped = images(root)
    assert files == PLAIN
    assert list(skipped) == [name]
    assert reason in skipped[name]
    assert listing_hash(root) == before


@pytest.mark.parametrize("name", ["self", "a/self"])
def test_a_link_to_itself_is_no_class_folder(root, name):
    (root / name).symlink_to("self")
    assert images(root)[0] == PLAIN
    assert find_splits(root) == {"all": root}
    find_splits_as_classes(root)
    assert listing_hash(root)


def test_files_elsewhere_are_followed_once(root, tmp_path):
    fill(tmp_path / "pool", "x.png", "more/y.png")
    (tmp_path / "pool" / "more" / "loop").symlink_to("..")
    (root / "a" / "x.png").symlink_to(tmp_path / "pool" / "x.png")
    (root / "b" / "pool").symlink_to(tmp_path / "pool")
    files, skipped = images(root)
    assert files == ["a/1.png", "a/2.png", "a/x.png", "b/4.png", "b/deep/3.png", "b/pool/more/y.png"]
    assert skipped == {
        "b/pool/x.png": "a link to a file that is already used",
        "b/pool/more/loop": "a link to a file that is already used",
    }


def test_what_is_no_file_is_not_opened(root):
    os.mkfifo(root / "a" / "pipe.png")
    code = f"from pathlib import Path; from compress.data.sources.folder_listing import *; root = Path({str(root)!r}); "
    code += "print(len(list_classes(root, FileWalk(root))[0].files), len(listing_hash(root)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout.split() == ["4", "64"]


@pytest.mark.skipif(sys.platform == "darwin", reason="file names are always UTF-8 there")
def test_names_that_are_no_text_are_read_or_refused(root):
    (root / "a" / os.fsdecode(b"\xff.png")).write_bytes(b"")
    files, _ = images(root)
    assert [printable(name) for name in files] == ["a/1.png", "a/2.png", r"a/\udcff.png", "b/4.png", "b/deep/3.png"]
    assert len(listing_hash(root)) == 64
    (root / os.fsdecode(b"\xfe")).mkdir()
    with pytest.raises(DataError, match=r"class folder \\udcfe is not UTF-8"):
        images(root)


@pytest.mark.parametrize(
    "names", [("train", "val", "test"), ("Train", "Valid", "Test"), ("Training", "Validation", "Testing"), ("TRAIN", "dev")]
)
def test_folders_of_splits_have_several_names(tmp_path, names):
    for name in names:
        fill(tmp_path / name, "a/1.png", "b/2.png")
    found = find_splits(tmp_path)
    assert list(found) == ["train", "val", "test"][: len(names)]
    assert [folder.name for folder in found.values()] == list(names)


def test_a_class_may_be_called_train(tmp_path):
    fill(tmp_path, "bus/1.png", "train/2.png", "car/3.png")
    assert find_splits(tmp_path) == {"all": tmp_path}
    assert find_splits_as_classes(tmp_path) == ()


def test_two_folders_for_a_split_and_folders_beside_splits_are_refused(tmp_path):
    fill(tmp_path, "train/a/1.png", "Training/a/2.png", "other/a/3.png")
    with pytest.raises(DataError, match="two folders for train: Training and train"):
        find_splits(tmp_path)
    (tmp_path / "Training").rename(tmp_path / "extra")
    with pytest.raises(DataError, match="train/ and beside it 'extra', 'other'"):
        find_splits(tmp_path)


def test_classes_that_look_like_splits_are_named(tmp_path):
    fill(tmp_path, "part1/a/1.png", "part1/b/2.png", "part2/a/3.png", "part2/b/4.png")
    (fact,) = find_splits_as_classes(tmp_path)
    assert "'part1', 'part2' contain the same folders ('a', 'b')" in render(fact)
