import pytest
import torch

from compress.data.differentiable_augment import OPERATIONS, PROBABILITIES, differentiable_augment


def images(count=4, channels=3):
    return torch.randn(count, channels, 16, 16, generator=torch.Generator().manual_seed(0))


def chances(count, seed=1):
    return torch.rand(count, PROBABILITIES, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_keeps_the_shape_and_lets_gradients_through(name):
    x = images().requires_grad_()
    changed = differentiable_augment(x, [name], chances(1))
    assert changed.shape == x.shape
    changed.square().sum().backward()
    assert x.grad.isfinite().all()
    assert x.grad.abs().sum() > 0


@pytest.mark.parametrize("name", OPERATIONS)
def test_one_row_of_chance_changes_two_batches_alike(name):
    x, chance = images(), chances(1)
    together = differentiable_augment(x, [name], chance)
    assert torch.allclose(
        together,
        torch.cat([differentiable_augment(x[:1], [name], chance), differentiable_augment(x[1:], [name], chance)]),
        atol=1e-6,
    )


def test_rows_of_chance_are_each_images_own_whatever_the_company():
    x, chance = images(12), chances(12)
    together = differentiable_augment(x, list(OPERATIONS), chance)
    for n in range(12):
        assert torch.allclose(
            together[n : n + 1], differentiable_augment(x[n : n + 1], list(OPERATIONS), chance[n : n + 1]), atol=1e-6
        )


def test_without_operations_nothing_changes():
    x = images()
    assert differentiable_augment(x, (), chances(1)) is x


def test_an_operation_at_its_middle_is_the_identity():
    x = images()
    middle = torch.full((4, 3), 0.5)
    for name in ("crop", "rotate", "color"):
        assert torch.allclose(OPERATIONS[name](x, middle), x, atol=1e-5), name


def test_a_shift_moves_by_an_eighth_at_most():
    x = torch.zeros(1, 1, 16, 16)
    x[..., 8, 8] = 1.0
    moved = OPERATIONS["crop"](x, torch.tensor([[1.0, 0.0, 0.0]]))
    assert moved[0, 0].nonzero().tolist() == [[10, 6]]


def test_a_cut_out_box_has_half_the_sides():
    x = torch.ones(1, 1, 16, 16)
    blanked = OPERATIONS["cutout"](x, torch.tensor([[0.5, 0.5, 0.0]]))
    assert int((blanked == 0).sum()) == 9 * 9


def test_half_of_all_images_are_mirrored():
    x = images(200)
    mirrored = OPERATIONS["flip"](x, chances(200)[:, 1:])
    share = (mirrored != x).flatten(1).any(1).float().mean()
    assert 0.4 < share < 0.6
    assert torch.equal(OPERATIONS["flip"](mirrored, chances(200)[:, 1:]), x)
