"""Words change places."""

from collections import Counter

import numpy as np

from compress.data.text.augmentation.random_swap import RandomSwap, _swap
from compress.data.text.augmentation.words import Words
from tests.data.text.augmentation.augmentation_checks import TEXTS, drawn


def test_the_words_are_the_same():
    changes = drawn(RandomSwap(p=0.5), TEXTS)
    assert all(Counter(change.slots) == Counter(change.words.words) for change in changes)
    assert any(list(change.slots) != change.words.words for change in changes)


def test_one_swap_moves_two_words():
    words = Words("a b c d e", tuple((2 * index, 2 * index + 1) for index in range(5)))
    for seed in range(20):
        slots = _swap(words, 0.1, np.random.default_rng(seed))
        assert sum(slot != word for slot, word in zip(slots, words.words, strict=True)) == 2


def test_a_single_word_has_no_place_to_go():
    assert _swap(Words("a", ((0, 1),)), 1.0, np.random.default_rng(0)) == ["a"]
