import pytest
import torch

from compress.data.augment import seeded_transform
from compress.data.mask_transforms import MASK_AUGMENTATIONS, MaskCropFlipColour, MaskEvaluationTransform

SIZE = (32, 24)


def sample(height=40, width=40):
    """Colour 60 · class, so that image and mask tell the same."""
    mask = torch.zeros(height, width, dtype=torch.uint8)
    mask[height // 4 : height // 2, width // 3 :] = 1
    mask[height // 2 :, : width // 2] = 3
    return torch.cat([(60 * mask).expand(3, -1, -1), mask[None]])


def augmented(name, seed):
    plain = MaskEvaluationTransform(SIZE)
    transform = plain if name == "none" else MASK_AUGMENTATIONS[name](SIZE, plain)
    with seeded_transform(seed):
        return transform(sample())


@pytest.mark.parametrize("name", ["none", "light"])
def test_image_and_mask_move_together_and_no_class_is_invented(name):
    for seed in range(8):
        result = augmented(name, seed)
        assert result.shape == (4, *SIZE)
        assert set(result[3].unique().tolist()) <= {0, 1, 3}
        nearest = (result[0].float() / 60).round()
        assert (nearest == result[3]).float().mean() > 0.9  # the rest are mixed pixels of the borders


def test_crop_and_flip_move_both_and_colour_changes_the_image_alone():
    geometry = MaskCropFlipColour(SIZE, colour=0.0)
    changed = MaskCropFlipColour(SIZE, colour=0.5)
    for seed in range(8):
        with seeded_transform(seed):
            moved = geometry(sample())
        with seeded_transform(seed):
            coloured = changed(sample())
        assert ((moved[0].float() / 60).round() == moved[3]).float().mean() > 0.9
        assert torch.equal(coloured[3], moved[3])
        assert not torch.equal(coloured[:3], moved[:3])


def test_views_differ():
    assert not torch.equal(augmented("light", 0), augmented("light", 1))
    assert not torch.equal(augmented("standard", 0), augmented("standard", 1))


def test_the_whole_mask_is_kept_whatever_its_shape():
    result = MaskEvaluationTransform(SIZE)(sample(64, 96))
    for value, share in ((1, 1 / 4 * 2 / 3), (3, 1 / 2 * 1 / 2)):
        assert float((result[3] == value).float().mean()) == pytest.approx(share, abs=0.02)
