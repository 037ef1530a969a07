import numpy as np
import torch

from compress.data.batch import UNLABELLED
from compress.data.image_split import ImageTransforms
from compress.data.mask_split import MaskArrays, MaskSplit
from compress.data.mask_transforms import MASK_AUGMENTATIONS, MaskEvaluationTransform

SIZE = (16, 12)


def arrays(count=5, channels=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (count, channels, *SIZE), generator=generator, dtype=torch.uint8)
    masks = torch.randint(0, 4, (count, 1, *SIZE), generator=generator, dtype=torch.uint8)
    return MaskArrays(torch.cat([pixels, masks], dim=1))


def split(reader=None, *, views=1, withheld=None, mean=(0.5, 0.4, 0.3)):
    plain = MaskEvaluationTransform(SIZE)
    augment = MASK_AUGMENTATIONS["light"](SIZE, plain) if views > 1 else None
    return MaskSplit(reader or arrays(), ImageTransforms(SIZE, plain, augment, views, 0, mean, (0.2, 0.2, 0.2)), withheld)


def test_a_batch_has_normalised_images_and_class_numbers_of_their_pixels():
    reader = arrays()
    batch = next(iter(split(reader).ordered(5)))
    expected = (reader.samples[:, :3].float() / 255 - torch.tensor([0.5, 0.4, 0.3]).view(1, 3, 1, 1)) / 0.2
    torch.testing.assert_close(batch.input, expected)
    assert batch.target.dtype == torch.int64
    assert torch.equal(batch.target, reader.samples[:, 3].long())


def test_255_does_not_count():
    reader = arrays()
    reader.samples[1, 3, :4] = 255
    target = next(iter(split(reader).ordered(5))).target
    assert (target[1, :4] == UNLABELLED).all()
    assert (target[1, 4:] >= 0).all()


def test_a_withheld_mask_is_not_shown():
    target = next(iter(split(withheld=np.array([2])).ordered(5))).target
    assert (target[2] == UNLABELLED).all()
    assert (target[[0, 1, 3, 4]] >= 0).all()


def test_views_are_numbered_and_an_epoch_shows_one_of_them_of_every_sample():
    data = split(views=3)
    first, again = ([batch.input for batch in data.view(1, 2)] for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    batches = list(data.epoch(4, 5, seed=7))
    assert batches[0].views.tolist() == [1] * 5
    order = batches[0].samples
    assert torch.equal(batches[0].input, torch.cat(first)[order])
    assert not torch.equal(torch.cat(first), torch.cat([batch.input for batch in data.view(2, 2)]))


def test_grey_images_have_one_channel_until_they_are_normalised():
    batch = next(iter(split(arrays(channels=1)).ordered(5)))
    assert batch.input.shape == (5, 3, *SIZE)


def test_another_mask_is_another_split():
    other = arrays()
    other.samples[0, 3, 0, 0] ^= 1
    assert split().fingerprint == split(arrays()).fingerprint != split(MaskArrays(other.samples)).fingerprint
