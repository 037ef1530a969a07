from pathlib import Path

import numpy as np
import torch

from compress.core.sentences import render
from compress.data.factory import load_data
from compress.data.settings import DataSettings
from compress.data.sources.image_text.draw_captioned import COLOURS, RELATIONS, SHAPES, SIZES, draw_captioned


def test_a_caption_says_what_is_drawn():
    for seed in range(40):
        image, caption, shape = draw_captioned(np.random.default_rng(seed), (48, 48))
        again = draw_captioned(np.random.default_rng(seed), (48, 48))
        assert (image == again[0]).all()
        assert caption == again[1]
        words = caption.split()
        assert image.shape == (3, 48, 48)
        assert words[1] in SIZES
        assert words[2] in COLOURS
        assert words[3] == shape
        assert shape in SHAPES
        relation = next(each for each in RELATIONS if f" {each} a " in caption)
        second = caption.split(" a ")[1].split()[1]
        if words[2] != second:
            first_at, second_at = (_place(image, COLOURS[colour]) for colour in (words[2], second))
            direction = np.array(RELATIONS[relation])
            assert (first_at - second_at) @ direction > 8


def _place(image, colour):
    """Mean place, x and y, of the pixels that are nearest to a colour."""
    distance = np.abs(image.transpose(1, 2, 0).astype(int) - np.array(colour)).max(2)
    near = distance <= max(distance.min() + 12, 30)
    y, x = np.nonzero(near)
    return np.array([x.mean(), y.mean()])


def test_splits_are_drawn_apart_and_named_synthetic():
    settings = DataSettings(
        source="drawn_captions", image_size=16, samples=70, test=0.2, tokenizer={"train": "wordpiece", "vocabulary": 80}
    )
    data = load_data(settings, base=Path())
    assert [len(split) for split in (data.train, data.validation, data.test)] == [70, 10, 14]
    assert any("synthetic" in render(fact) for fact in data.warnings)
    grey = load_data(settings.model_copy(update={"channels": 1}), base=Path())
    assert next(iter(grey.train.ordered(2))).inputs["image"].shape == (2, 1, 16, 16)
    first, again = (torch.cat([batch.inputs["image"] for batch in data.train.epoch(1, 16, 3)]) for _ in range(2))
    assert torch.equal(first, again)
