"""Drawn scenes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from compress.core.fact import Fact
from compress.data.detection_targets import CLASSES as TARGET_CLASSES
from compress.data.settings import DataSettings, DataSource
from compress.data.sources.detection.drawn import CLASSES, MOST_OBJECTS, draw_scene, load, object_mask

ORIGIN = DataSource("drawn_boxes", "", Path())
SETTINGS = DataSettings(source="drawn_boxes", image_size=48, samples=62, augment="none")


def test_objects_have_their_sizes_and_boxes_hold_them() -> None:
    for number in range(len(CLASSES)):
        mask = np.asarray(object_mask(number, (64, 96), np.random.default_rng(number)))
        rows, columns = mask.nonzero()
        assert min(np.ptp(rows), np.ptp(columns)) >= 6
        assert max(np.ptp(rows), np.ptp(columns)) <= 32
    for seed in range(20):
        image, boxes, classes = draw_scene((64, 96), 3, np.random.default_rng(seed))
        assert image.dtype == torch.uint8
        assert len(boxes) == len(classes) <= MOST_OBJECTS
        assert bool((boxes[:, 2:] > boxes[:, :2]).all())
        assert image.shape == (3, 64, 96)
        assert bool((boxes >= 0).all() and (boxes <= torch.tensor([96, 64, 96, 64])).all())
        for box in boxes.int().tolist():
            x1, y1, x2, y2 = box
            inside = image[:, max(0, y1 - 3) : y2 + 3, max(0, x1 - 3) : x2 + 3].float().flatten(1)
            assert float(inside.std(1).max()) > 10, "an object and what is behind it differ"


def test_the_same_seed_draws_the_same_scenes() -> None:
    first, again = load(SETTINGS, ORIGIN), load(SETTINGS, ORIGIN)
    assert first.train.fingerprint == again.train.fingerprint
    assert first.train.fingerprint != load(SETTINGS.model_copy(update={"seed": 1}), ORIGIN).train.fingerprint
    assert first.train.fingerprint != first.test.fingerprint
    assert (len(first.train), len(first.validation), len(first.test)) == (62, 9, 19)


def test_it_says_that_it_is_drawn() -> None:
    data = load(SETTINGS, ORIGIN)
    assert data.skipped == (Fact.of("data.drawn_scenes", "drawn_boxes"),)
    assert data.spec.classes == CLASSES
    classes = torch.cat([batch.targets[TARGET_CLASSES].flatten() for batch in data.train.ordered(16)])
    assert set(classes.tolist()) == {-1, *range(len(CLASSES))}


def test_grey_scenes_have_one_channel() -> None:
    data = load(SETTINGS.model_copy(update={"channels": 1}), ORIGIN)
    assert next(iter(data.train.ordered(2))).input.shape == (2, 1, 48, 48)
