"""CIDEr-D against the figures of the authors' own code, and against its formula by hand."""

import math

import pytest

from compress.tasks.text.cider import CiderD

REFERENCES = ["a small red disc above a large blue cross", "a large green ring left of a small red disc", "two dogs"]
TEXTS = ["a small red disc above a blue cross", "a large green ring left of a red ring", "Two dogs."]
BY_PYCOCOEVALCAP = [6.62476318, 7.38182364, 5.0]
"""`CiderScorer(n=4, sigma=6.0)` of pycocoevalcap 1.2, on the same words."""


def test_it_is_that_of_the_authors_code():
    assert CiderD().compare(TEXTS, REFERENCES) == pytest.approx(BY_PYCOCOEVALCAP, abs=1e-8)


def test_a_repeated_word_counts_no_more_often_than_in_the_reference():
    references = ["cat", "dog"]
    once, twice = (CiderD().compare([text, "dog"], references)[0] for text in ("cat", "cat cat"))
    weight = math.log(2)
    by_hand = 10 / 4 * math.exp(-1 / 72) * (min(2 * weight, weight) * weight) / (2 * weight * weight)
    assert (once, twice) == pytest.approx((2.5, by_hand))


def test_empty_texts_and_words_of_all_references_score_nothing():
    assert CiderD().compare(["", "the"], ["the cat", "the dog"]).tolist() == [0.0, 0.0]
    assert CiderD().compare([], []).shape == (0,)
