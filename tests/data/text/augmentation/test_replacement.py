"""Words are replaced by candidates."""

import numpy as np

from compress.data.text.augmentation.replacement import STOP_WORDS, as_written, replace_each
from compress.data.text.augmentation.words import Words

LONG = Words(" ".join("x" * 30), tuple((2 * index, 2 * index + 1) for index in range(30)))


def test_words_with_candidates_are_replaced_with_probability_p():
    rng = np.random.default_rng(0)
    candidates = dict.fromkeys(range(20), ("u", "v"))
    slots = np.array([replace_each(LONG, candidates, 0.4, rng) for _ in range(500)])
    assert (slots[:, 20:] == "x").all()
    changed = slots[:, :20]
    assert abs((changed != "x").mean() - 0.4) < 0.02
    assert abs((changed == "u").mean() - 0.2) < 0.02


def test_capitals_stay():
    assert as_written("cat", "Dog") == "Cat"
    assert as_written("cat", "dog") == "cat"


def test_stop_words_are_words_of_grammar():
    assert {"the", "not", "is"} <= STOP_WORDS
    assert not {"good", "bad", "cat"} & STOP_WORDS
