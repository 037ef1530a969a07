import pytest
from PIL import Image

from compress.core.errors import DataError
from compress.data.sources.segmentation.mask_listing import list_splits, masks_hash, read_classes


def touch(*files):
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4)).save(file)


def test_a_mask_belongs_to_the_image_of_its_name_also_in_sub_folders(tmp_path):
    touch(tmp_path / "images/a/1.jpg", tmp_path / "masks/a/1.png", tmp_path / "images/2.png", tmp_path / "masks/2.png")
    splits, skipped = list_splits(tmp_path)
    assert [(pair.image.name, pair.mask.name) for pair in splits["all"]] == [("2.png", "2.png"), ("1.jpg", "1.png")]
    assert skipped == ()


def test_splits_have_folders_of_their_own(tmp_path):
    for split in ("Train", "valid"):
        touch(tmp_path / split / "images/1.png", tmp_path / split / "masks/1.png")
    (tmp_path / "Train/images/notes.txt").write_text("x")
    splits, skipped = list_splits(tmp_path)
    assert sorted(splits) == ["train", "val"]
    assert [fact.code for fact in skipped] == ["data.not_an_image_file"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["images/1.png", "images/2.png", "masks/1.png"], r"1 images have no mask \(2.png\); add a mask of the same name"),
        (["images/1.png", "masks/1.png", "masks/7.png"], r"1 masks have no image \(7.png\); add the image"),
        (["images/1.png", "images/1.jpg", "masks/1.png"], "two files named '1'"),
        (["val/images/1.png", "val/masks/1.png"], "no images/ and masks/ beside each other"),
        (
            [f"{split}/{kind}/1.png" for split in ("train", "val", "dev") for kind in ("images", "masks")],
            "two folders for val",
        ),
    ],
)
def test_files_that_do_not_go_together_are_refused(tmp_path, files, message):
    touch(*(tmp_path / file for file in files))
    with pytest.raises(DataError, match=message):
        list_splits(tmp_path)


def test_a_missing_folder_is_refused(tmp_path):
    for read in (list_splits, masks_hash):
        with pytest.raises(DataError, match="no such folder"):
            read(tmp_path / "none")


def test_classes_are_the_lines_of_a_file(tmp_path):
    (tmp_path / "classes.txt").write_text("background\n\n road \n", encoding="utf-8")
    assert read_classes(tmp_path) == ("background", "road")


@pytest.mark.parametrize(
    ("content", "message"), [(b"a\na\n", "names 'a' twice"), (b"\xff\xfe\xff", "not UTF-8"), (None, "cannot read")]
)
def test_classes_that_cannot_be_read_are_refused(tmp_path, content, message):
    if content is not None:
        (tmp_path / "classes.txt").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_classes(tmp_path)


def test_the_hash_follows_the_files(tmp_path):
    touch(tmp_path / "images/1.png", tmp_path / "masks/1.png")
    before = masks_hash(tmp_path)
    touch(tmp_path / "images/2.png")
    assert masks_hash(tmp_path) != before
