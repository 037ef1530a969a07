import pytest
import torch

import compress.data.image_split as images_module
from tests.data.toy_images import make


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


def test_the_samples_of_one_class_are_a_split_of_their_own():
    whole = make(33, augment="none").train
    number = int(whole.labels[0])
    part = whole.of_class(number)
    (batch,) = part.ordered(64)
    chosen = [index for index, label in enumerate(whole.labels) if label == number]
    assert batch.target.tolist() == [number] * len(chosen)
    assert torch.equal(batch.input, torch.stack([gather(whole.ordered(8))[index] for index in chosen]))
    assert part.fingerprint not in (whole.fingerprint, whole.of_class(number + 1).fingerprint)
    assert len(whole.of_class(99)) == 0
