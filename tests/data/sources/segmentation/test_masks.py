import numpy as np
import pytest
from PIL import Image

from compress.core.errors import DataError
from compress.data.batch import UNLABELLED
from compress.data.factory import data_fingerprint, load_data
from compress.data.settings import DataSettings
from compress.data.sources.segmentation.masks import read_mask

SIZE = (20, 12)


def write(root, name, mask=None, *, size=SIZE, mask_size=None, palette=False):
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True, exist_ok=True)
    seed = sum(map(ord, str(root) + name))
    noise = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    Image.fromarray(noise).save(root / "images" / f"{name}.jpg")
    values = np.zeros((mask_size or size)[::-1], dtype=np.uint8) if mask is None else mask
    image = Image.fromarray(values)
    if palette:
        image.putpalette([(37 * index) % 256 for index in range(768)])  # a shorter one is written with fewer bits
    image.save(root / "masks" / f"{name}.png")


def folder(root, count=10, classes="background\nroad\ncar\n", **options):
    (root / "classes.txt").write_text(classes)
    for index in range(count):
        mask = np.zeros(SIZE[::-1], dtype=np.uint8)
        mask[6:, 10:], mask[:2] = 2, 255
        write(root, str(index), mask, **options)
    return root


def read(root, **settings):
    settings = DataSettings(**{"source": f"masks:{root}", "image_size": 16, "augment": "none", **settings})
    return load_data(settings, base=root)


@pytest.mark.parametrize("palette", [False, True])
def test_a_folder_is_split_by_fractions_and_its_masks_are_class_numbers(tmp_path, palette):
    data = read(folder(tmp_path, palette=palette), validation=0.2, test=0.3)
    assert (len(data.train), len(data.validation), len(data.test)) == (6, 1, 3)
    target = next(iter(data.test.ordered(1))).target[0]
    assert (target[8:, 8:] == 2).all()
    assert (target[:2] == UNLABELLED).all()
    assert (target[3:8] == 0).all()


def test_folders_of_splits_are_used_as_they_are(tmp_path):
    (tmp_path / "classes.txt").write_text("a\nb\n")
    for split, count in (("train", 4), ("val", 2), ("test", 3)):
        for index in range(count):
            write(tmp_path / split, str(index))
    data = read(tmp_path)
    assert (len(data.train), len(data.validation), len(data.test)) == (4, 2, 3)
    assert (len(read(tmp_path, limit=3).train), len(read(tmp_path, evaluation_limit=1).test)) == (3, 1)


def test_the_key_follows_the_files(tmp_path):
    settings = DataSettings(source=f"masks:{folder(tmp_path, 4)}")
    before = data_fingerprint(settings, tmp_path)
    write(tmp_path, "new")
    assert data_fingerprint(settings, tmp_path) != before


def test_masks_of_another_size_are_refused(tmp_path):
    write(folder(tmp_path), "odd", mask_size=(8, 8))
    with pytest.raises(
        DataError, match=r"1 of \d+ masks have another size than their image.*\n.*odd.png has 8 × 8 pixels.*20 × 12"
    ):
        read(tmp_path, evaluation_limit=None)


def test_unknown_class_numbers_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"unknown class numbers; classes.txt has 2 classes, so numbers are 0 to 1.*\n.*: 2"):
        read(folder(tmp_path, classes="a\nb\n"))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (Image.new("RGB", (4, 4)), "mode RGB has colours and no class numbers"),
        (Image.fromarray(np.full((4, 4), 300, dtype=np.uint16)), "class number 300"),
    ],
)
def test_files_that_hold_no_class_numbers_are_refused(tmp_path, image, message):
    image.save(tmp_path / "mask.png")
    with pytest.raises(ValueError, match=message):
        read_mask(tmp_path / "mask.png")


def test_a_damaged_mask_is_refused(tmp_path):
    folder(tmp_path)
    (tmp_path / "masks/3.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"masks or their images cannot be read(.|\n)*3.png"):
        read(tmp_path)
