"""Words are removed with probability p."""

import numpy as np
import pytest

from compress.data.text.augmentation.random_deletion import RandomDeletion, _delete
from compress.data.text.augmentation.words import Words
from tests.data.text.augmentation.augmentation_checks import drawn

LONG = Words(" ".join("x" * 20), tuple((2 * index, 2 * index + 1) for index in range(20)))


@pytest.mark.parametrize("p", [0.1, 0.4])
def test_the_expected_number_of_words_is_removed(p):
    rng = np.random.default_rng(0)
    removed = np.array([sum(slot is None for slot in _delete(LONG, p, rng)) for _ in range(2000)])
    deviation = (20 * p * (1 - p)) ** 0.5
    assert abs(removed.mean() - 20 * p) < 4 * deviation / 2000**0.5
    assert removed.std() == pytest.approx(deviation, rel=0.1)


def test_the_other_words_stay_in_their_order():
    for change in drawn(RandomDeletion(p=0.5), ["the cat runs under a tree"] * 20):
        rest = [slot for slot in change.slots if slot is not None]
        words = iter(change.words.words)
        assert all(word in words for word in rest)


def test_one_word_is_left():
    assert all(sum(slot is not None for slot in change.slots) == 1 for change in drawn(RandomDeletion(p=1.0), ["a b c"] * 9))


def test_fixed_words_stay():
    words = Words(LONG.text, LONG.spans, frozenset({3, 7}))
    slots = _delete(words, 1.0, np.random.default_rng(0))
    assert [index for index, slot in enumerate(slots) if slot is not None] == [3, 7]
