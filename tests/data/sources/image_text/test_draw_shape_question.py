from pathlib import Path

import numpy as np
import pytest

from compress.data.factory import data_fingerprint, load_data
from compress.data.settings import DataSettings
from compress.data.sources.image_text.draw_captioned import COLOURS, Thing
from compress.data.sources.image_text.draw_shape_question import draw_shape_question, questions_on_shape

SIZE = (32, 40)


def test_each_answer_is_a_property_of_the_shape():
    asked = questions_on_shape(Thing("small", "red", "ring"), right=True, lower=False)
    assert asked == {
        "what colour is it?": "red",
        "which shape is it?": "ring",
        "is it small or large?": "small",
        "where is it?": "top right",
    }


@pytest.mark.parametrize("seed", range(40))
def test_the_shape_is_where_and_of_the_colour_that_the_answer_says(seed):
    image, answer, question = draw_shape_question(np.random.default_rng(seed), SIZE)
    assert image.shape == (3, *SIZE)
    ground = np.median(image.reshape(3, -1), axis=1)
    drawn = np.abs(image.astype(float) - ground[:, None, None]).max(axis=0) > 45
    rows, columns = np.nonzero(drawn)
    if question == "where is it?":
        assert answer.split()[0] == ("bottom" if rows.mean() > SIZE[0] / 2 else "top")
        assert answer.split()[1] == ("right" if columns.mean() > SIZE[1] / 2 else "left")
    if question == "what colour is it?":
        pixels = np.median(image[:, drawn], axis=1)
        assert answer == min(COLOURS, key=lambda name: np.abs(pixels - COLOURS[name]).sum())
    if question == "is it small or large?":
        assert answer == ("small" if np.ptp(rows) < 0.4 * SIZE[0] else "large")


def test_the_source_gives_images_questions_and_answers_of_a_seed():
    settings = DataSettings(
        source="drawn_shape_questions",
        image_size=16,
        samples=64,
        augment="none",
        columns={"targets": "next"},
        tokenizer={"train": "wordpiece", "vocabulary": 80},
    )
    first, again = (load_data(settings, base=Path()) for _ in range(2))
    names = [first.train.name(row) for row in range(len(first.train))]
    assert names == [again.train.name(row) for row in range(len(again.train))]
    assert any(name.endswith(": where is it? top left") for name in names)
    assert {"numpy", "pillow"} <= data_fingerprint(settings, Path()).keys()
