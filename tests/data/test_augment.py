import pytest
import torch

from compress.data.augment import AUGMENTATIONS, Augmentation, EvaluationTransform, random_crop, seeded_transform


@pytest.mark.parametrize("name", AUGMENTATIONS)
@pytest.mark.parametrize("channels", [1, 3])
def test_augmentations_give_varied_uint8_images_of_the_size_asked_for(name, channels):
    image = torch.randint(0, 256, (channels, 40, 52), dtype=torch.uint8)
    augment = AUGMENTATIONS[name]((24, 32), EvaluationTransform((24, 32), "center_crop"))
    views = []
    for view in range(4):
        with seeded_transform(view):
            views.append(augment(image))
    assert all(view.shape == (channels, 24, 32) and view.dtype == torch.uint8 for view in views)
    assert any(not torch.equal(views[0], view) for view in views[1:])


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_an_augmentation_is_a_function_of_the_seed_alone(name):
    image = torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8)
    augment = AUGMENTATIONS[name]((32, 32), EvaluationTransform((32, 32)))
    with seeded_transform(5):
        first = augment(image)
    torch.rand(7)
    with seeded_transform(5):
        assert torch.equal(augment(image), first)


def test_light_without_movement_is_the_identity():
    image = torch.randint(0, 256, (1, 16, 16), dtype=torch.uint8)
    assert torch.equal(Augmentation((16, 16), EvaluationTransform((16, 16)), degrees=0.0, scale=0.0, shift=0.0)(image), image)


def test_light_moves_a_dot_no_further_than_promised():
    image = torch.zeros((1, 65, 65), dtype=torch.uint8)
    image[0, 30:35, 30:35] = 255
    augment = Augmentation((65, 65), EvaluationTransform((65, 65)))
    for view in range(50):
        with seeded_transform(view):
            weights = augment(image)[0].float()
        centre = torch.stack(torch.meshgrid(torch.arange(65.0), torch.arange(65.0), indexing="ij")).mul(weights).sum((1, 2))
        moved = (centre / weights.sum() - 32).abs().max()
        # The shift is applied before rotation and scale, so both lengthen it a little.
        assert moved <= 0.08 * 65 * 1.42


def test_light_turns_a_disc_of_a_wide_image_without_stretching_it():
    y, x = torch.meshgrid(torch.arange(40.0), torch.arange(80.0), indexing="ij")
    image = (((y - 19.5) ** 2 + (x - 39.5) ** 2 < 100).float() * 255).to(torch.uint8)[None]
    augment = Augmentation((40, 80), EvaluationTransform((40, 80)), degrees=45.0, scale=0.0, shift=0.0)
    with seeded_transform(1):
        turned = augment(image)[0].float()
    for side in (y, x):
        mean = (side * turned).sum() / turned.sum()
        spread = ((side - mean).square() * turned).sum() / turned.sum()
        assert float(spread) == pytest.approx(25, rel=0.03)  # r² / 4 of a disc


def test_crops_have_the_aspect_ratio_of_the_input_on_average():
    crop = random_crop((32, 128))
    torch.manual_seed(0)
    sizes = [crop.make_params([torch.zeros(3, 400, 400)]) for _ in range(200)]
    ratios = [size["width"] / size["height"] for size in sizes]
    assert min(ratios) > 0.95 * 3
    assert max(ratios) < 1.05 * 16 / 3


def test_light_continues_the_border():
    image = torch.full((1, 16, 16), 200, dtype=torch.uint8)
    with seeded_transform(3):
        assert torch.equal(Augmentation((16, 16), EvaluationTransform((16, 16)))(image), image)


def test_global_random_state_is_left_alone():
    before = torch.get_rng_state()
    with seeded_transform(1):
        torch.rand(10)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_state_is_restored_after_an_error():
    before = torch.get_rng_state()

    def fail():
        with seeded_transform(1):
            torch.rand(1)
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        fail()
    assert torch.equal(torch.get_rng_state(), before)
