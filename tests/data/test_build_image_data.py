import numpy as np
import pytest
import torch

from compress.core.errors import DataError
from compress.data.batch import UNLABELLED
from compress.data.build_image_data import channel_moments, from_arrays
from compress.data.factory import load_data
from compress.data.settings import DataSettings
from tests.data.toy_images import CLASSES, make, part


def test_inputs_are_normalised_by_the_training_images():
    data = make(300, image_size=12, augment="none")
    inputs = torch.cat([batch.input for batch in data.train.ordered(64)])
    assert inputs.shape == (300, 3, 12, 12)
    assert inputs.dtype == torch.float32
    assert torch.allclose(inputs.mean((0, 2, 3)), torch.zeros(3), atol=1e-3)
    assert torch.allclose(inputs.std((0, 2, 3)), torch.ones(3), atol=1e-3)


def test_moments_are_those_of_the_pixels():
    pixels, _ = part(20, 4, channels=3)
    mean, std = channel_moments(pixels, 3)
    assert mean == pytest.approx((pixels.double() / 255).mean((0, 2, 3)).tolist(), abs=1e-4)
    assert std == pytest.approx((pixels.double() / 255).std((0, 2, 3), correction=0).tolist(), abs=1e-4)


def test_colour_becomes_grey_for_a_grey_network():
    colour, grey = make(depth=3, augment="none"), make(depth=3, augment="none", channels=1)
    assert (colour.spec.channels, grey.spec.channels) == (3, 1)

    def pixels(data):
        inputs = next(iter(data.train.ordered(33))).input
        return inputs * torch.tensor(data.spec.std).view(-1, 1, 1) + torch.tensor(data.spec.mean).view(-1, 1, 1)

    luma = (pixels(colour) * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1, keepdim=True)
    assert torch.allclose(pixels(grey), luma, atol=2 / 255)


def test_limits_cap_training_and_evaluation_apart():
    data = make(limit=6, evaluation_limit=3)
    assert (len(data.train), len(data.validation), len(data.test)) == (6, 3, 3)
    assert np.bincount(data.train.labels).tolist() == [2, 2, 2]


def test_one_class_is_refused():
    with pytest.raises(DataError, match="two or more"):
        from_arrays(part(6, 0), part(6, 1), part(6, 2), classes=["only"], settings=DataSettings())


def test_an_empty_split_is_refused():
    with pytest.raises(DataError, match="0 validation images"):
        from_arrays(part(6, 0), part(0, 1), part(6, 2), classes=CLASSES, settings=DataSettings())


def test_withheld_labels_are_shown_by_no_batch_and_change_the_fingerprint(tmp_path):
    some, whole = (load_data(DataSettings(image_size=8, limit=60, labelled=n), base=tmp_path) for n in (20, None))
    batch = next(iter(some.train.ordered(60)))
    kept = batch.target[batch.target != UNLABELLED]
    assert sorted(kept.tolist()) == sorted([*range(10), *range(10)])
    assert torch.equal(batch.input, next(iter(whole.train.ordered(60))).input)
    assert some.train.fingerprint != whole.train.fingerprint
    assert some.validation.fingerprint == whole.validation.fingerprint
    assert int(next(iter(some.validation.ordered(60))).target.min()) >= 0
