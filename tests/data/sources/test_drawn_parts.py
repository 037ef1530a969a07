from pathlib import Path

import numpy as np
import pytest
import torch

from compress.data.factory import load_data
from compress.data.settings import DataSettings
from compress.data.sources.drawn_parts import CLASSES, draw_part, draw_split


def settings(**changes):
    return DataSettings(**{"source": "drawn_parts", "image_size": 32, "samples": 72, "channels": 1} | changes)


def test_half_of_the_parts_are_good_and_the_kinds_equally_frequent():
    data = load_data(settings(), base=Path())
    assert data.spec.classes == CLASSES
    assert np.bincount(data.train.labels).tolist() == [36, 12, 12, 12]
    assert {fact.code for fact in data.warnings} == {"data.drawn_scenes"}


def test_parts_repeat_from_their_seed_whatever_their_number():
    first, kinds = draw_split("train", 12, settings())
    more, _ = draw_split("train", 18, settings())
    assert torch.equal(more[:12], first)
    assert not torch.equal(draw_split("test", 12, settings())[0], first)
    assert not torch.equal(draw_split("train", 12, settings(seed=1))[0], first)
    assert kinds.tolist() == [0, 1, 0, 2, 0, 3] * 2


@pytest.mark.parametrize("kind", CLASSES[1:])
def test_a_defect_changes_a_small_place_of_the_same_part(kind):
    changed = []
    for seed in range(40):
        good, bad = (draw_part(np.random.default_rng(seed), (64, 64), each).astype(int) for each in ("good", kind))
        assert good.shape == (64, 64)
        # The noise is drawn after the defect, so it differs everywhere: by 0.02 of the range, 5 levels.
        changed.append((abs(good - bad) > 35).mean())
    assert np.median(changed) > 0.001
    assert max(changed) < 0.05


def test_defects_cannot_be_told_by_the_brightness_of_the_image_alone():
    parts, kinds = draw_split("train", 600, settings())
    means = parts.float().mean((1, 2, 3)).numpy()
    good, bad = means[kinds == 0], means[kinds != 0]
    below = (good[:, None] < bad[None, :]).mean()
    assert 0.4 < below < 0.6


def test_images_need_not_be_square():
    parts, _ = draw_split("train", 6, settings(image_size=[32, 64]))
    assert parts.shape == (6, 1, 32, 64)
    assert parts[:, :, :, :12].float().mean() < 50 < parts[:, :, 12:20, 24:40].float().mean()
