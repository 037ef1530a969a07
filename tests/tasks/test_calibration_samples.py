from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from compress.core.errors import ConversionError
from compress.data.batch import INPUT
from compress.tasks.calibration_samples import samples_of_classes, spread_samples
from compress.tasks.classification import Classification
from tests.export.tiny import TinySplit, split


def images_of(data: TinySplit, count: int, seed: int) -> np.ndarray:
    return np.concatenate([sample[INPUT] for sample in Classification().calibration(data, count, seed, classes=4)])


def test_samples_are_spread_over_the_classes_and_seeded() -> None:
    data = split(200, 0)
    chosen = images_of(data, 16, 0)
    where = [int((data.inputs.numpy() == variant).all(axis=(1, 2, 3)).argmax()) for variant in chosen]
    assert Counter(int(data.targets[index]) for index in where) == {0: 4, 1: 4, 2: 4, 3: 4}
    assert len(set(where)) == 16
    np.testing.assert_array_equal(chosen, images_of(data, 16, 0))
    assert not np.array_equal(chosen, images_of(data, 16, 1))


def test_small_split_is_taken_whole() -> None:
    data = split(10, 0)
    assert sorted(images_of(data, 64, 0).sum((1, 2, 3))) == sorted(data.inputs.numpy().sum((1, 2, 3)))


def test_without_classes_any_samples_are_drawn_by_the_seed() -> None:
    data = TinySplit(torch.arange(200.0)[:, None], torch.zeros(200, dtype=torch.int64))
    first, again, other = ([float(sample[INPUT][0, 0]) for sample in spread_samples(data, 20, seed)] for seed in (0, 0, 1))
    assert first == again
    assert first != other
    assert len(set(first)) == 20
    assert max(first) > 128
    assert len(spread_samples(data, 500, 0)) == 200


def test_an_empty_split_is_refused() -> None:
    for choose in (lambda: spread_samples(split(0, 0), 4, 0), lambda: samples_of_classes(split(0, 0), 4, 0, 4)):
        with pytest.raises(ConversionError, match="training split is empty"):
            choose()
