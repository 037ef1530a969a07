import torch

from compress.data.sources.distilled_split import DistilledSplit, contents_hash

TARGETS = torch.arange(10).repeat_interleave(4)
IMAGES = torch.randn(40, 1, 16, 16, generator=torch.Generator().manual_seed(3))
SOFT = torch.randn(40, 10, generator=torch.Generator().manual_seed(4)).softmax(1)


def a_split(operations=("crop",), rows=slice(None), seed=0):
    return DistilledSplit(IMAGES[rows], TARGETS[rows], SOFT[rows], operations=operations, views=3, seed=seed)


def test_its_images_are_shown_in_views_of_their_own_augmentation():
    split = a_split()
    assert split.views == 3
    first, again, other = (next(iter(split.view(number, 64))).input for number in (0, 3, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    plain = a_split(())
    assert plain.views == 1
    assert torch.equal(next(iter(plain.view(2, 64))).input, IMAGES)
    assert plain.fingerprint != split.fingerprint
    assert plain.contents == split.contents


def test_an_epoch_shows_every_image_once_in_the_view_of_its_number():
    split = a_split()
    batches = list(split.epoch(4, 16, seed=1))
    samples = torch.cat([batch.samples for batch in batches])
    assert len(batches) == split.batches(16) == 3
    assert sorted(samples.tolist()) == list(range(40))
    whole = next(iter(split.view(1, 64))).input
    assert torch.allclose(torch.cat([batch.input for batch in batches]), whole[samples], atol=1e-6)
    assert torch.equal(torch.cat([batch.target for batch in batches]), torch.from_numpy(split.labels)[samples])


def test_a_view_of_an_image_does_not_depend_on_its_company():
    whole, alone = next(iter(a_split().view(1, 64))).input, torch.cat([batch.input for batch in a_split().view(1, 1)])
    torch.testing.assert_close(alone, whole, atol=1e-6, rtol=0)


def test_a_rest_of_one_image_is_left_out():
    split = a_split(rows=slice(0, 9))
    assert [batch.size for batch in split.epoch(0, 4, seed=0)] == [4, 4]
    assert split.batches(4) == 2


def test_the_fingerprint_follows_images_classes_and_seed_and_the_contents_the_first_two():
    assert a_split().fingerprint == a_split().fingerprint
    others = [a_split(rows=slice(1, None)), a_split(seed=1), a_split(("flip",))]
    assert len({split.fingerprint for split in (a_split(), *others)}) == 4
    assert a_split(seed=1).contents == a_split().contents == contents_hash(IMAGES, TARGETS)
    assert contents_hash(IMAGES, TARGETS.flip(0)) != contents_hash(IMAGES, TARGETS)
    assert contents_hash(IMAGES.view(40, 16, 1, 16), TARGETS) != contents_hash(IMAGES, TARGETS)
