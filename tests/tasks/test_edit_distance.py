"""`edit_distance` against the recurrence written as such, and its properties as a metric."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cache

import pytest

from compress.tasks.edit_distance import edit_distance


def by_recurrence(first: Sequence[str], second: Sequence[str]) -> int:
    @cache
    def distance(i: int, j: int) -> int:
        if not i or not j:
            return i + j
        same = first[i - 1] == second[j - 1]
        return min(distance(i - 1, j) + 1, distance(i, j - 1) + 1, distance(i - 1, j - 1) + (not same))

    return distance(len(first), len(second))


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [("", "", 0), ("", "abc", 3), ("abc", "", 3), ("kitten", "sitting", 3), ("abc", "abc", 0), ("ab", "ba", 2)],
)
def test_known_distances(first: str, second: str, expected: int) -> None:
    assert edit_distance(first, second) == expected


def test_the_distance_is_that_of_the_recurrence_for_drawn_texts() -> None:
    draw = random.Random(0)
    for _ in range(300):
        first, second = ("".join(draw.choices("abc", k=draw.randrange(9))) for _ in range(2))
        assert edit_distance(first, second) == by_recurrence(first, second) == edit_distance(second, first)


def test_words_are_elements_as_characters_are() -> None:
    assert edit_distance(["the", "cat", "sat"], ["the", "cat", "sat", "down"]) == 1
    assert edit_distance(["one", "two"], ["two"]) == 1
