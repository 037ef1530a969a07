import pytest
import torch

from compress.train.curriculum.mixup import MixedBatch, cutmix, erase, mix_batch, mix_logits, mixup
from compress.train.curriculum.settings import Curriculum


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_mixup_adds_two_images_in_their_share():
    x, partner = draw(4, 3, 8, 8), torch.tensor([1, 0, 3, 2])
    torch.testing.assert_close(mixup(x, partner, 0.3)[2], 0.3 * x[2] + 0.7 * x[3])


@pytest.mark.parametrize("centre", [[0.5, 0.5], [0.0, 0.99], [0.2, 0.7]])
def test_cutmix_shows_as_much_of_each_image_as_it_says(centre):
    x = torch.zeros(2, 1, 16, 16)
    x[1] = 1.0
    mixed, share = cutmix(x, torch.tensor([1, 0]), 0.6, centre)
    assert float(mixed[0].mean()) == pytest.approx(1 - share)
    assert float(mixed[1].mean()) == pytest.approx(share)
    assert share >= 0.55
    assert float(x[0].sum()) == 0.0


def test_erasing_blanks_a_box_of_the_chosen_images_only():
    x = torch.ones(50, 1, 16, 16)
    erased = erase(x, torch.arange(50) < 40, torch.rand(50, 4, generator=torch.Generator().manual_seed(0)))
    assert bool((erased[40:] == 1).all())
    parts = (erased[:40] == 0).float().mean((1, 2, 3))
    assert float(parts.max()) <= 0.4
    assert float((parts > 0).float().mean()) > 0.9
    assert bool((x == 1).all())


def test_a_mix_is_the_same_from_the_same_seed():
    curriculum, x = Curriculum(mixup=0.4, cutmix=1.0, erase=0.5), draw(6, 3, 8, 8)
    result = []
    for _ in range(2):
        torch.manual_seed(5)
        result.append([mix_batch(x, curriculum) for _ in range(4)])
    for a, b in zip(*result, strict=True):
        assert torch.equal(a.inputs, b.inputs)
        assert a.lam == b.lam
    assert len({item.lam for item in result[0]}) > 1


def test_answers_to_single_images_are_blended_as_probabilities():
    z = draw(4, 3)
    changed = MixedBatch(z, torch.tensor([2, 3, 0, 1]), 0.25)
    expected = 0.25 * z.softmax(1) + 0.75 * z.softmax(1)[[2, 3, 0, 1]]
    torch.testing.assert_close(mix_logits(z, changed).softmax(1), expected)
