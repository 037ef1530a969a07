import numpy as np
import pytest

from compress.data.sources.segmentation import draw_scene as scenes
from compress.data.sources.segmentation.draw_scene import CLASSES, STENCILS, draw_scene


def drawn(seed, size=(48, 48)):
    return draw_scene(np.random.default_rng(seed), size)


def test_a_seed_gives_one_scene():
    for first, second in zip(drawn(3), drawn(3), strict=True):
        assert np.array_equal(first, second)
    assert not np.array_equal(drawn(3)[0], drawn(4)[0])


def test_a_scene_has_the_size_asked_for():
    image, mask = drawn(2, (32, 56))
    assert image.shape == (3, 32, 56)
    assert mask.shape == (32, 56)


def test_all_classes_occur_and_the_background_fills_neither_all_nor_nothing():
    masks = np.stack([drawn(seed)[1] for seed in range(40)])
    assert set(np.unique(masks)) == set(range(len(CLASSES)))
    assert 0.3 < (masks == 0).mean() < 0.9


def test_the_mask_is_exact(monkeypatch):
    """Pixels of one class that touch no other differ from the background by what was drawn."""
    monkeypatch.setattr(scenes, "_background", lambda _, size: np.zeros((*size, 3), np.float32))
    monkeypatch.setattr(scenes, "_colour", lambda *_: np.ones(3))
    image, mask = drawn(5, (64, 96))
    covered = image.astype(float).mean(0) / 255
    assert np.abs((covered > 0.5) == (mask > 0)).mean() > 0.97
    assert covered[mask > 0].mean() > 0.9
    assert covered[mask == 0].mean() < 0.1


@pytest.mark.parametrize("label", range(1, len(CLASSES)))
def test_a_shape_has_the_area_of_its_formula(label):
    areas = {1: (np.pi, np.pi), 2: (0.64 * 4 * 0.45, 0.64 * 4), 3: (1.44 * 1.299, 1.44 * 1.3), 4: (1.5, 3.3), 5: (0.3, 4.0)}
    from PIL import Image, ImageDraw

    for seed in range(5):
        canvas = Image.new("1", (400, 400))
        STENCILS[label - 1](ImageDraw.Draw(canvas), np.random.default_rng(seed), (200.0, 200.0), 100.0)
        low, high = areas[label]
        assert 0.95 * low < np.asarray(canvas).sum() / 100**2 < 1.05 * high
