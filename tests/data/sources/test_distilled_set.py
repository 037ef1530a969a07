import pytest
import torch

from compress.core.errors import DataError
from compress.core.sentences import render
from compress.data.factory import load_data
from compress.data.sources.distilled_set import read, with_distilled_train, write
from tests.data.sources.toy_distilled import SETTINGS, a_set, recipe


def alone(count=4):
    return a_set(count, data=None, source="", fingerprint="")


def test_a_set_is_read_back_to_the_bit_from_its_file_or_folder(written, tmp_path):
    for path in (tmp_path / "set", tmp_path / "set" / "distilled.safetensors"):
        found = read(path)
        assert torch.equal(found.images, written.images)
        assert torch.equal(found.targets, written.targets)
        assert torch.equal(found.soft, written.soft)
        assert (found.spec, found.about) == (written.spec, written.about)


def test_the_source_trains_on_the_set_and_is_judged_on_the_data_behind_it(written, tmp_path):
    data, behind = load_data(recipe(), base=tmp_path), load_data(SETTINGS, base=tmp_path)
    assert torch.equal(next(iter(data.train.ordered(64))).input, written.images)
    assert data.validation.fingerprint == behind.validation.fingerprint
    assert data.test.fingerprint == behind.test.fingerprint
    assert data.spec == behind.spec


def test_a_limit_takes_as_many_of_each_class_with_their_soft_labels(written, tmp_path):
    split = load_data(recipe(limit=20), base=tmp_path).train
    assert torch.bincount(torch.from_numpy(split.labels)).tolist() == [2] * 10
    shown = next(iter(split.ordered(64))).input
    rows = [int((written.images == image).flatten(1).all(1).nonzero()) for image in shown]
    assert torch.equal(split.soft, written.soft[rows])


def test_trained_on_changes_nothing_but_the_training_images(written, tmp_path):
    data = load_data(SETTINGS, base=tmp_path)
    other = with_distilled_train(data, tmp_path / "set")
    assert len(other.train) == 40
    assert other.test is data.test
    assert other.settings == SETTINGS


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"image_size": 32}, "holds images of 16 × 16 with 1 channels; write image_size: 16, channels: 1"),
        ({"channels": 3}, "write image_size: 16, channels: 1"),
        ({"labelled": 5}, "leave `labelled` out"),
        ({"source": "distilled:elsewhere"}, "no distilled set at"),
    ],
)
def test_settings_that_the_set_cannot_follow_are_refused(written, tmp_path, more, message):
    with pytest.raises(DataError, match=message):
        load_data(recipe(**more), base=tmp_path)


def test_a_set_whose_data_has_changed_is_refused(tmp_path):
    write(tmp_path / "distilled.safetensors", a_set(fingerprint="of another time"))
    with pytest.raises(DataError, match="made from digits, which has changed since"):
        load_data(recipe(source="distilled:."), base=tmp_path)


def test_a_set_without_data_behind_it_is_split_and_says_so(tmp_path):
    write(tmp_path / "distilled.safetensors", alone())
    data = load_data(recipe(source="distilled:."), base=tmp_path)
    assert len(data.train) + len(data.validation) + len(data.test) == 40
    assert set(data.test.labels) == set(range(10))
    assert "not accuracy on real images" in render(data.skipped[0])
    write(tmp_path / "distilled.safetensors", alone(count=1))
    with pytest.raises(DataError, match="4 images per class or more"):
        load_data(recipe(source="distilled:."), base=tmp_path)


@pytest.mark.parametrize(
    "spoil", [lambda b: b[:100], lambda b: b"x" * len(b), lambda b: b[:-400] + b"y" * 400, lambda b: b[:0]]
)
def test_a_damaged_file_is_refused(written, tmp_path, spoil):
    path = tmp_path / "set" / "distilled.safetensors"
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(DataError, match="create it again"):
        read(path)
