import numpy as np
import pytest
import torch

import compress.data.image_split as images_module
from compress.core.errors import DataError
from compress.data.build_image_data import channel_moments, from_arrays
from compress.data.settings import DataSettings

CLASSES = ["a", "b", "c"]


def part(count, seed, channels=1, size=12):
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (count, channels, size, size), dtype=torch.uint8, generator=generator)
    return pixels, np.arange(count, dtype=np.int64) % 3


def make(count=33, depth=1, **settings):
    chosen = DataSettings(**{"source": "digits", "image_size": 16, "views": 3, "augment": "standard", **settings})
    return from_arrays(part(count, 0, depth), part(9, 1, depth), part(12, 2, depth), classes=CLASSES, settings=chosen)


def gather(batches):
    """Inputs by sample index."""
    found = {}
    for batch in batches:
        for sample, image in zip(batch.samples.tolist(), batch.input, strict=True):
            assert sample not in found
            found[sample] = image
    return found


def same(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)


def test_an_epoch_shows_every_sample_once_with_its_target():
    data = make()
    batches = list(data.train.epoch(2, 8, seed=0))
    assert len(gather(batches)) == 32
    batches = list(data.train.epoch(2, 7, seed=0))
    assert sorted(gather(batches)) == list(range(33))
    for batch in batches:
        assert torch.equal(batch.target, torch.from_numpy(data.train.labels)[batch.samples])


@pytest.mark.parametrize(("count", "batch_size", "expected"), [(33, 8, 4), (34, 8, 5), (32, 8, 4), (5, 1, 5), (5, 9, 1)])
def test_a_rest_of_one_sample_is_left_out(count, batch_size, expected):
    train = make(count).train
    batches = list(train.epoch(0, batch_size, seed=0))
    assert len(batches) == train.batches(batch_size) == expected
    assert min(len(batch.target) for batch in batches) > 1 or batch_size == 1


@pytest.mark.parametrize("augment", ["none", "light", "standard", "randaugment"])
def test_epoch_and_view_agree_exactly(augment):
    train = make(34, augment=augment).train
    for number in (0, 1, 2, 4):
        shown, views = gather(train.epoch(number, 8, seed=7)), gather(train.view(number % train.views, 5))
        assert same(shown, views)


def test_views_differ_from_each_other_and_from_the_plain_image():
    train = make().train
    first, second, plain = gather(train.view(0, 8)), gather(train.view(1, 8)), gather(train.ordered(8))
    assert not same(first, second)
    assert not same(first, plain)


def test_batches_name_the_view_they_show():
    train = make().train
    assert all((batch.views == 1).all() for batch in train.epoch(4, 8, seed=0))
    assert all((batch.views == 2).all() for batch in train.view(2, 8))


@pytest.mark.parametrize("augment", ["light", "randaugment"])
def test_batches_are_equal_with_and_without_workers_and_memory(augment, monkeypatch):
    alone = list(make(18, augment=augment).train.epoch(1, 4, seed=3))
    monkeypatch.setattr(images_module, "CACHE_BYTES", 0)
    for again in (make(18, augment=augment), make(18, augment=augment, workers=2)):
        others = list(again.train.epoch(1, 4, seed=3))
        assert len(others) == len(alone)
        for one, other in zip(alone, others, strict=True):
            assert torch.equal(one.input, other.input)
            assert torch.equal(one.target, other.target)
            assert torch.equal(one.samples, other.samples)


def test_kept_images_are_the_images_read_anew(monkeypatch):
    train = make().train
    first = gather(train.view(0, 8))
    monkeypatch.setattr(train, "_read", lambda *_: pytest.fail("read again"))
    assert same(first, gather(train.epoch(0, 7, seed=1)))


def test_an_abandoned_epoch_leaves_later_ones_right():
    train, whole = make(34).train, make(34).train
    next(iter(train.epoch(0, 8, seed=1)))
    assert same(gather(train.epoch(0, 8, seed=2)), gather(whole.epoch(0, 8, seed=2)))


def test_order_follows_seed_and_number():
    train = make(34).train

    def order(number, seed):
        return torch.cat([batch.samples for batch in train.epoch(number, 8, seed=seed)]).tolist()

    assert order(0, 0) == order(0, 0)
    assert len({tuple(order(number, seed)) for number in range(3) for seed in range(3)}) == 9


@pytest.mark.parametrize("workers", [0, 1])
def test_global_random_state_is_left_alone(workers):
    train = make(12, workers=workers).train
    before = torch.get_rng_state()
    for _ in train.epoch(0, 4, seed=0):
        assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(torch.get_rng_state(), before)


def test_evaluation_splits_are_not_augmented():
    data = make()
    assert data.validation.views == data.test.views == 1
    assert same(gather(data.test.view(0, 5)), gather(data.test.ordered(5)))


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


@pytest.mark.parametrize(
    "change",
    [{"augment": "light"}, {"views": 2}, {"seed": 1}, {"image_size": 17}, {"channels": 1}, {"limit": 30}],
)
def test_the_fingerprint_follows_what_the_batches_depend_on(change):
    assert make().train.fingerprint == make().train.fingerprint
    assert make(**change).train.fingerprint != make().train.fingerprint


@pytest.mark.parametrize("augment", ["none", "light", "standard", "randaugment"])
def test_the_fingerprint_holds_no_address(augment):
    assert make(augment=augment).train.fingerprint == make(augment=augment).train.fingerprint
    assert make(augment=augment, workers=1).train.fingerprint == make(augment=augment).train.fingerprint


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
    from compress.data.batch import UNLABELLED
    from compress.data.factory import load_data

    some, whole = (load_data(DataSettings(image_size=8, limit=60, labelled=n), base=tmp_path) for n in (20, None))
    batch = next(iter(some.train.ordered(60)))
    kept = batch.target[batch.target != UNLABELLED]
    assert sorted(kept.tolist()) == sorted([*range(10), *range(10)])
    assert torch.equal(batch.input, next(iter(whole.train.ordered(60))).input)
    assert some.train.fingerprint != whole.train.fingerprint
    assert some.validation.fingerprint == whole.validation.fingerprint
    assert int(next(iter(some.validation.ordered(60))).target.min()) >= 0
