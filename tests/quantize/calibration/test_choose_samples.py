from __future__ import annotations

from collections import Counter

import numpy as np

from compress.quantize.calibration.choose_samples import sample_calibration_set
from tests.export.tiny import split


def test_samples_are_spread_over_the_classes_and_seeded() -> None:
    data = split(200, 0)
    chosen = sample_calibration_set(data, 16, classes=4, seed=0)
    where = [int((data.inputs.numpy() == one).all(axis=(1, 2, 3)).argmax()) for one in chosen]
    assert Counter(int(data.targets[index]) for index in where) == {0: 4, 1: 4, 2: 4, 3: 4}
    assert len(set(where)) == 16
    np.testing.assert_array_equal(chosen, sample_calibration_set(data, 16, classes=4, seed=0))
    assert not np.array_equal(chosen, sample_calibration_set(data, 16, classes=4, seed=1))


def test_small_split_is_taken_whole() -> None:
    data = split(10, 0)
    assert sorted(sample_calibration_set(data, 64, classes=4, seed=0).sum((1, 2, 3))) == sorted(
        data.inputs.numpy().sum((1, 2, 3))
    )
