import hashlib
from pathlib import Path

import numpy as np
import torch

from compress.data.factory import load_data
from compress.data.settings import DataSettings


def digits(**settings):
    return load_data(DataSettings(source="digits", image_size=16, **settings), base=Path())


def hashes(split):
    return {hashlib.sha256(image.numpy().tobytes()).hexdigest() for batch in split.ordered(64) for image in batch.input}


def test_all_images_are_used_and_no_split_shares_one():
    data = digits()
    assert len(data.train) + len(data.validation) + len(data.test) == 1797
    train, validation, test = hashes(data.train), hashes(data.validation), hashes(data.test)
    assert not train & validation
    assert not train & test
    assert not validation & test


def test_splits_are_stratified_in_the_fractions_asked_for():
    data = digits(test=0.3, validation=0.2)
    counts = [np.bincount(split.labels, minlength=10) for split in (data.train, data.validation, data.test)]
    total = sum(counts)
    assert np.abs(counts[2] - 0.3 * total).max() <= 1
    assert np.abs(counts[1] - 0.2 * (total - counts[2])).max() <= 1


def test_the_test_split_does_not_depend_on_the_limit():
    assert digits(limit=50).test.fingerprint == digits(limit=50).test.fingerprint
    assert torch.equal(torch.from_numpy(digits(limit=50).test.labels), torch.from_numpy(digits().test.labels))


def test_another_seed_splits_otherwise():
    assert not np.array_equal(digits(seed=1).test.labels, digits(seed=0).test.labels)


def test_grey_scans_become_three_equal_channels():
    inputs = next(iter(digits().train.ordered(4))).input
    assert inputs.shape == (4, 3, 16, 16)
    assert torch.equal(inputs[:, 0], inputs[:, 2])
    assert next(iter(digits(channels=1).train.ordered(4))).input.shape == (4, 1, 16, 16)


def test_classes_are_named():
    assert digits().spec.classes == tuple("0123456789")


def test_smoke_settings_give_small_splits():
    data = load_data(DataSettings().smoke(), base=Path())
    assert max(len(data.train), len(data.validation), len(data.test)) <= 96
    assert data.spec.height == 32
