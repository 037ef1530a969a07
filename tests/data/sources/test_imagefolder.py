import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import compress.data.sources.imagefolder as imagefolder_module
from compress.core.errors import DataError
from compress.core.fact import Fact
from compress.core.sentences import render, render_subject
from compress.data.factory import data_fingerprint, load_data
from compress.data.settings import DataSettings

COLOURS = {"cat": (200, 30, 30), "dog": (30, 200, 30), "owl": (30, 30, 200)}


def paint(file: Path, colour, seed, size=(40, 30)):
    file.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(-25, 26, (*size[::-1], 3))
    Image.fromarray(np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)).save(file)


def fill(folder: Path, count, classes=COLOURS, suffix="jpg"):
    for name in classes:
        for index in range(count):
            paint(folder / name / f"{index}.{suffix}", COLOURS.get(name, (9, 9, 9)), index)


def read(root: Path, **settings):
    return load_data(DataSettings(**{"source": f"imagefolder:{root}", "image_size": 16, **settings}), base=Path("/"))


def files_of(split):
    return set(split._reader.files)


def test_three_folders_are_used_as_they_are(tmp_path):
    for name, count in (("train", 6), ("val", 3), ("test", 4)):
        fill(tmp_path / name, count)
    data = read(tmp_path)
    assert data.spec.classes == ("cat", "dog", "owl")
    assert (len(data.train), len(data.validation), len(data.test)) == (18, 9, 12)
    assert all("val" in file.parts for file in files_of(data.validation))


def test_without_a_test_folder_val_gives_the_final_figures(tmp_path):
    fill(tmp_path / "train", 10)
    fill(tmp_path / "val", 4)
    data = read(tmp_path, validation=0.2)
    assert all("val" in file.parts for file in files_of(data.test))
    assert (len(data.train), len(data.validation), len(data.test)) == (24, 6, 12)
    assert not files_of(data.train) & files_of(data.validation)


def test_train_alone_is_split_by_seed(tmp_path):
    fill(tmp_path / "train", 10)
    data = read(tmp_path, validation=0.2, test=0.3)
    assert (len(data.train), len(data.validation), len(data.test)) == (18, 3, 9)


def test_one_folder_a_class_is_split_by_seed_without_overlap(tmp_path):
    fill(tmp_path, 10)
    data = read(tmp_path, validation=0.2, test=0.3)
    parts = [files_of(split) for split in (data.train, data.validation, data.test)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 30
    assert np.bincount(data.test.labels).tolist() == [3, 3, 3]
    assert files_of(read(tmp_path, seed=1).test) != parts[2] or files_of(read(tmp_path, seed=2).test) != parts[2]


def test_a_relative_path_starts_from_the_recipes_folder(tmp_path):
    fill(tmp_path / "photos", 5)
    data = load_data(DataSettings(source="imagefolder:photos", image_size=16), base=tmp_path)
    assert len(data.spec.classes) == 3


def test_images_are_normalised_as_imagenet(tmp_path):
    fill(tmp_path, 6)
    data = read(tmp_path)
    batch = next(iter(data.train.ordered(32)))
    assert data.spec.mean == (0.485, 0.456, 0.406)
    for image, target in zip(batch.input, batch.target.tolist(), strict=True):
        pixels = image * torch.tensor(data.spec.std).view(3, 1, 1) + torch.tensor(data.spec.mean).view(3, 1, 1)
        assert torch.allclose(pixels.mean((1, 2)) * 255, torch.tensor(COLOURS[data.spec.classes[target]]).float(), atol=10)


@pytest.mark.parametrize("augment", ["light", "standard", "randaugment"])
def test_epoch_and_view_agree_with_workers_too(tmp_path, augment):
    fill(tmp_path, 6)
    plain, parallel = read(tmp_path, augment=augment).train, read(tmp_path, augment=augment, workers=2).train
    views = {
        sample: image for batch in plain.view(1, 4) for sample, image in zip(batch.samples.tolist(), batch.input, strict=True)
    }
    shown = [
        (sample, image)
        for batch in parallel.epoch(1, 4, seed=9)
        for sample, image in zip(batch.samples.tolist(), batch.input, strict=True)
    ]
    assert len(shown) == plain.batches(4) * 4 or len(shown) == len(plain)
    assert all(torch.equal(views[sample], image) for sample, image in shown)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1", "I;16"])
@pytest.mark.parametrize("channels", [1, 3])
def test_images_of_any_mode_are_read(tmp_path, mode, channels):
    fill(tmp_path, 6)
    if mode == "I;16":
        image = Image.fromarray(np.full((20, 20), 128 * 256, dtype=np.uint16))
    else:
        image = Image.new("RGB", (20, 20), (128, 128, 128)).convert(mode, palette=Image.Palette.ADAPTIVE)
    for name in COLOURS:
        for file in (tmp_path / name).iterdir():
            file.unlink()
        for index in range(6):
            image.save(tmp_path / name / f"{index}.{'tif' if mode == 'CMYK' else 'png'}")
    inputs = next(iter(read(tmp_path, channels=channels).train.ordered(2))).input
    assert inputs.shape == (2, channels, 16, 16)
    if mode != "1":
        mean = torch.tensor(read(tmp_path, channels=channels).spec.mean).view(-1, 1, 1)
        std = torch.tensor(read(tmp_path, channels=channels).spec.std).view(-1, 1, 1)
        assert torch.allclose(inputs[0] * std + mean, torch.tensor(128 / 255), atol=0.02)


def test_a_palette_with_transparency_is_read_without_a_warning(tmp_path):
    fill(tmp_path, 6, suffix="png")
    palette = Image.new("RGB", (20, 20), (128, 128, 128)).convert("P")
    palette.save(tmp_path / "cat" / "0.png", transparency=bytes([0, 255]))
    assert sum(len(batch.target) for batch in read(tmp_path).train.ordered(8)) > 0


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"no such image folder: .*nothing"):
        read(tmp_path / "nothing")


def test_a_folder_without_classes_is_refused(tmp_path):
    paint(tmp_path / "0.jpg", (0, 0, 0), 0)
    with pytest.raises(DataError, match="holds no folders"):
        read(tmp_path)


def test_a_class_without_images_is_refused_by_name(tmp_path):
    fill(tmp_path, 4)
    (tmp_path / "yak").mkdir()
    (tmp_path / "yak" / "notes.txt").write_text("none yet")
    with pytest.raises(DataError, match="no images in class 'yak'"):
        read(tmp_path)


def test_an_unexpected_folder_beside_train_is_refused(tmp_path):
    fill(tmp_path / "train", 4)
    fill(tmp_path / "more", 4)
    with pytest.raises(DataError, match="beside it 'more'"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("val", "said"),
    [
        (("cat", "dog"), "lacks 'owl'"),
        (("cat", "dog", "owl", "yak"), "has besides 'yak'"),
        (("cat", "dog", "Owl"), "'owl' and has"),
    ],
)
def test_classes_that_differ_between_splits_are_refused(tmp_path, val, said):
    fill(tmp_path / "train", 4)
    fill(tmp_path / "val", 2, val)
    with pytest.raises(DataError, match=said):
        read(tmp_path)


def lay_out_parts(root: Path):
    """The layout of MVTec AD: masks of the defects are beside train and test, named as the images."""
    counts = {
        "train/good": 12,
        "test/good": 3,
        "test/crack": 3,
        "test/stain": 3,
        "ground_truth/crack": 3,
        "ground_truth/stain": 3,
    }
    for seed, (folder, count) in enumerate(counts.items()):
        for index in range(count):
            paint(root / folder / f"{index}.png", (120, 120, 120), 100 * seed + index)


def test_good_parts_alone_in_train(tmp_path):
    lay_out_parts(tmp_path)
    data = read(tmp_path, validation=0.25)
    assert data.spec.classes == ("crack", "good", "stain")
    assert set(data.train.labels) == {1}
    assert [np.bincount(split.labels).tolist() for split in (data.train, data.validation, data.test)] == [
        [0, 9],
        [1, 3, 1],
        [2, 3, 2],
    ]
    for split in (data.train, data.validation, data.test):
        assert [file.parent.name for file in split._reader.files] == [data.spec.classes[label] for label in split.labels]
    places = [files_of(split) for split in (data.train, data.validation, data.test)]
    assert len(set.union(*places)) == sum(map(len, places)) == 21
    assert all(file.is_relative_to(tmp_path / "train") for file in places[0])
    assert all(file.is_relative_to(tmp_path / "test") for file in places[2])
    assert data.skipped == (Fact.of("data.masks_unused", "ground_truth"),)
    assert data.warnings == ()


def test_a_validation_folder_of_good_parts_is_used_as_it_is(tmp_path):
    lay_out_parts(tmp_path)
    fill(tmp_path / "val", 2, ["good"], suffix="bmp")
    data = read(tmp_path)
    assert (len(data.train), len(data.validation), len(data.test)) == (12, 2, 9)
    assert all(file.is_relative_to(tmp_path / "val") for file in files_of(data.validation))


def test_a_class_of_train_that_test_lacks_is_refused_where_train_has_one_class(tmp_path):
    fill(tmp_path / "train", 4, ["good"])
    fill(tmp_path / "test", 2, ["crack", "stain"])
    with pytest.raises(DataError, match="lacks 'good' and has besides 'crack', 'stain'"):
        read(tmp_path)


def test_a_single_class_is_refused(tmp_path):
    fill(tmp_path, 5, ["cat"])
    with pytest.raises(DataError, match="two or more"):
        read(tmp_path)


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "webp", "tif"])
@pytest.mark.parametrize("kept", [0.4, 0.95])
def test_a_truncated_image_is_refused_by_name(tmp_path, suffix, kept):
    fill(tmp_path, 5, suffix=suffix)
    file = tmp_path / "dog" / f"3.{suffix}"
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * kept)])
    with pytest.raises(DataError, match=rf"1 of 15 .*\n.*3\.{suffix}"):
        read(tmp_path)


def test_a_text_file_named_png_and_an_empty_file_are_refused_together(tmp_path):
    fill(tmp_path, 5)
    (tmp_path / "cat" / "words.png").write_text("not an image")
    (tmp_path / "dog" / "empty.jpg").touch()
    with pytest.raises(DataError, match=r"2 of 17 (.*\n)*.*words\.png(.*\n)*.*empty\.jpg"):
        read(tmp_path)


def test_at_most_ten_bad_files_are_listed(tmp_path):
    fill(tmp_path, 5)
    for index in range(14):
        (tmp_path / "cat" / f"bad{index}.png").write_text("no")
    with pytest.raises(DataError, match="and 4 more") as caught:
        read(tmp_path)
    assert len(re.findall(r"bad\d+\.png", str(caught.value))) == 10


def test_beyond_the_check_a_bad_file_is_named_when_it_is_reached(tmp_path, monkeypatch):
    monkeypatch.setattr(imagefolder_module, "CHECKED", 3)
    fill(tmp_path, 5)
    for index in range(5):
        file = tmp_path / "dog" / f"{index}.jpg"
        file.write_bytes(file.read_bytes()[:-200])
    data = read(tmp_path)
    with pytest.raises(DataError, match=r"cannot decode .*dog"):
        list(data.train.ordered(8))


def test_other_files_are_left_out_and_recorded(tmp_path):
    fill(tmp_path, 4)
    (tmp_path / "cat" / "notes.txt").write_text("words")
    (tmp_path / "cat" / ".DS_Store").write_text("hidden")
    assert read(tmp_path).skipped == (Fact.of("data.not_an_image_file", "cat/notes.txt", suffix=".txt"),)


@pytest.mark.parametrize("suffix", ["gif", "tiff", "png", "webp"])
def test_the_first_frame_of_an_animation_or_a_stack_is_used_and_the_others_are_recorded(tmp_path, suffix):
    fill(tmp_path, 4)
    frames = [Image.new("RGB", (40, 30), colour) for colour in ((250, 0, 0), (0, 0, 250), (0, 250, 0))]
    for name in ("one", "two"):
        frames[0].save(tmp_path / "cat" / f"{name}.{suffix}", save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "cat" / f"single.{suffix}")
    data = read(tmp_path, image_size=16)
    (fact,) = data.skipped
    assert re.match(rf"further frames of 2 files \(for example .*(one|two)\.{suffix}\)", render_subject(fact))
    assert "the first frame" in render(fact)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (data.spec.mean, data.spec.std))
    for split in (data.train, data.validation, data.test):
        pixels = next(iter(split.ordered(64))).input * std + mean
        colours = {file.name: image.mean((1, 2)) for file, image in zip(split._reader.files, pixels, strict=True)}
        for colour in (colour for name, colour in colours.items() if name.endswith(suffix)):
            torch.testing.assert_close(colour, torch.tensor([250 / 255, 0, 0]), atol=0.02, rtol=0)


def test_a_limit_is_class_balanced(tmp_path):
    fill(tmp_path, 12)
    data = read(tmp_path, limit=6, evaluation_limit=3)
    assert np.bincount(data.train.labels).tolist() == [2, 2, 2]
    assert len(data.validation) == len(data.test) == 3


def test_the_listing_hash_follows_the_files(tmp_path):
    fill(tmp_path, 3)
    settings = DataSettings(source=f"imagefolder:{tmp_path}")
    before = data_fingerprint(settings, tmp_path)
    assert data_fingerprint(settings, tmp_path) == before
    paint(tmp_path / "cat" / "0.jpg", (1, 2, 3), 77)
    changed = data_fingerprint(settings, tmp_path)
    assert changed != before
    (tmp_path / "dog" / "2.jpg").unlink()
    assert data_fingerprint(settings, tmp_path) not in (before, changed)


def test_an_image_of_too_many_pixels_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    fill(tmp_path, 4)
    Image.new("1", (3000, 2000)).save(tmp_path / "cat" / "large.png")
    monkeypatch.setattr(imagefolder_module, "LARGEST", 5_000_000)
    with pytest.raises(DataError, match=r"large.png: 3000 × 2000 pixels, more than 5,000,000"):
        read(tmp_path)


def test_a_photograph_in_two_splits_is_warned_of(tmp_path):
    fill(tmp_path / "train", 6)
    for index in range(4):
        for name, colour in COLOURS.items():
            paint(tmp_path / "test" / name / f"{index}.jpg", colour, 100 + index)
    assert read(tmp_path).warnings == ()
    copied = tmp_path / "test" / "dog" / "2.jpg"
    copied.write_bytes((tmp_path / "train" / "dog" / "3.jpg").read_bytes())
    ((text),) = [render(fact) for fact in read(tmp_path).warnings]
    assert re.match(r"1 samples of the test split are also in the \w+ split \(for example .*dog/2.jpg\)", text)
