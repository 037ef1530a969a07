"""The split of images with boxes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from compress.data.detection_targets import BOXES, CLASSES
from compress.data.sources.detection.augment import AUGMENTATIONS
from compress.data.sources.detection.drawn import DrawnScenes
from compress.data.sources.detection.split import BoxSplit, BoxTransforms, resize

STILL = BoxTransforms((32, 32), None, 1, 0, (0.5,) * 3, (0.25,) * 3)


def scenes(count: int = 5) -> DrawnScenes:
    """Grey images, the i-th with i boxes."""
    return DrawnScenes(tuple((torch.full((3, 40, 80), 40 * i, dtype=torch.uint8), *_objects(i)) for i in range(count)))


def _objects(count: int) -> tuple[Tensor, Tensor]:
    return torch.tensor([[8.0, 4, 40, 36]]).repeat(count, 1), torch.arange(count)


def test_boxes_are_scaled_with_the_image() -> None:
    image, boxes, _ = resize(torch.zeros(3, 40, 80, dtype=torch.uint8), *_objects(1), (32, 32))
    assert image.shape == (3, 32, 32)
    assert boxes.tolist() == [[pytest.approx(value) for value in (3.2, 3.2, 16, 28.8)]]


def test_batches_are_normalised_and_padded_alike() -> None:
    split = BoxSplit(scenes(), STILL)
    batches = list(split.ordered(2))
    assert [batch.size for batch in batches] == [2, 2, 1]
    assert {batch.targets[BOXES].shape[1] for batch in batches} == {4}
    joined = torch.cat([batch.targets[CLASSES] for batch in batches])
    assert (joined >= 0).sum(1).tolist() == [0, 1, 2, 3, 4]
    assert batches[1].input[0].unique().tolist() == [pytest.approx((80 / 255 - 0.5) / 0.25)]


def test_an_epoch_repeats_itself_and_shows_every_sample() -> None:
    split = BoxSplit(scenes(), replace(STILL, augmented=AUGMENTATIONS["standard"], views=2))
    first, again, other = (list(split.epoch(number, 2, 0)) for number in (0, 0, 2))
    for one, two in zip(first, again, strict=True):
        assert torch.equal(one.input, two.input)
        assert torch.equal(one.targets[BOXES], two.targets[BOXES])
    assert split.batches(2) == len(first) == 2
    seen = torch.cat([batch.samples for batch in other])  # type: ignore[misc]
    assert len(set(seen.tolist())) == 4
    assert all(bool((batch.views == 0).all()) for batch in other), "epoch 2 shows view 0 of 2"


def test_loader_processes_give_the_same_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("compress.data.sources.detection.split.CACHE_BYTES", 0)
    alone, helped = (BoxSplit(scenes(), replace(STILL, workers=workers)) for workers in (0, 1))
    for one, two in zip(alone.ordered(2), helped.ordered(2), strict=True):
        assert torch.equal(one.input, two.input)
        assert torch.equal(one.targets[BOXES], two.targets[BOXES])


def test_the_fingerprint_is_of_contents_and_transforms() -> None:
    split = BoxSplit(scenes(), STILL)
    assert split.fingerprint == BoxSplit(scenes(), STILL).fingerprint
    assert split.fingerprint != BoxSplit(scenes(4), STILL).fingerprint
    assert split.fingerprint != BoxSplit(scenes(), replace(STILL, size=(48, 32))).fingerprint
