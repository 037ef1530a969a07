from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
import torch
from PIL import ImageFont

import compress.data.sources.glyphs as glyphs_module
from compress.core.errors import DataError
from compress.data.factory import load_data
from compress.data.settings import DataSettings
from compress.data.sources.glyphs import CHARACTERS, FAMILIES, draw, split_families

FONTS = Path(mpl.get_data_path()) / "fonts" / "ttf"


def glyphs(**settings):
    return load_data(DataSettings(**{"source": "glyphs", "image_size": 24, "samples": 310, **settings}), base=Path())


@pytest.mark.parametrize("seed", range(8))
def test_test_families_are_never_trained_on(seed):
    training, held = split_families(seed)
    assert not set(training) & set(held)
    assert sorted([*training, *held]) == sorted(FAMILIES)


def test_families_are_those_that_the_font_files_name():
    named = {}
    for family, files in FAMILIES.items():
        for file in files:
            named.setdefault(ImageFont.truetype(FONTS / f"{file}.ttf").getname()[0], set()).add(family)
    assert all(len(families) == 1 for families in named.values())


def test_each_split_draws_from_its_own_fonts(monkeypatch):
    drawn = []
    monkeypatch.setattr(glyphs_module, "draw", lambda families, *rest: drawn.append(families) or draw(families, *rest))
    glyphs(seed=4)
    train, validation, test = drawn
    assert train == validation
    assert not set(train) & set(test)


def test_every_font_draws_62_different_characters():
    for files in FAMILIES.values():
        for file in files:
            masters = glyphs_module._masters(file, 48)
            assert len({image.numpy().tobytes() for image in masters}) == len(CHARACTERS) == 62
            # Nothing is cut off.
            edge = torch.cat([masters[:, 0], masters[:, -1], masters[:, :, 0], masters[:, :, -1]], dim=1)
            assert edge.max() == 0


def test_sizes_follow_samples_and_fractions():
    data = glyphs(samples=620, validation=0.2, test=0.3)
    assert (len(data.train), len(data.validation), len(data.test)) == (620, 124, 186)
    assert np.bincount(data.train.labels).tolist() == [10] * 62


def test_drawing_repeats_from_its_seed():
    families = split_families(0)[0]
    images, labels = draw(families, 124, (24, 24), 5)
    again, labels_again = draw(families, 124, (24, 24), 5)
    assert torch.equal(images, again)
    assert np.array_equal(labels, labels_again)
    assert not torch.equal(images, draw(families, 124, (24, 24), 6)[0])


def test_images_vary_in_polarity_and_contrast():
    images, _ = draw(split_families(0)[0], 620, (24, 24), 0)
    background = images[:, 0, 0].float().mean(1)
    assert 0.4 < (background > 128).float().mean() < 0.6
    assert images.float().flatten(1).std(1).min() > 10


def test_a_nearest_neighbour_reads_unseen_fonts_far_better_than_chance():
    training, held = split_families(0)
    train, train_labels = draw(training, 6200, (16, 16), 1)
    test, test_labels = draw(held, 310, (16, 16), 2)

    def standard(images):
        flat = images.flatten(1).float()
        flat = flat - flat.mean(1, keepdim=True)
        return flat / flat.norm(dim=1, keepdim=True)

    found = train_labels[(standard(test) @ standard(train).T).abs().argmax(1).numpy()]
    # Chance is 1/62. The absolute correlation ignores polarity.
    assert (found == test_labels).mean() > 0.25


def test_too_many_images_for_the_memory_are_refused():
    with pytest.raises(DataError, match="lower `samples`"):
        glyphs(samples=10_000_000, image_size=1024)


def test_a_missing_font_is_named(monkeypatch):
    monkeypatch.setattr(mpl, "get_data_path", lambda: "/nowhere")
    with pytest.raises(DataError, match=r"does not ship the font /nowhere.*\.ttf"):
        glyphs()
