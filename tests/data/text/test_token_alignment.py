"""Groups of tokens of the same bytes."""

import random
from itertools import pairwise

import pytest

from compress.data.text.token_alignment import align_tokens


@pytest.mark.parametrize(
    ("first", "second", "groups"),
    [
        ([3, 4, 2, 0], [2, 5, 2, 0], [((0, 2), (0, 2)), ((2, 3), (2, 3)), ((3, 4), (3, 4))]),
        ([1, 1, 1], [3], [((0, 3), (0, 1))]),
        ([2, 2], [1, 1, 2], [((0, 1), (0, 2)), ((1, 2), (2, 3))]),
        ([2, 2, 3], [2, 2], [((0, 1), (0, 1)), ((1, 2), (1, 2))]),
        ([0, 2, 0, 0], [2, 0], [((0, 3), (0, 1)), ((3, 4), (1, 2))]),
        ([2, 0], [3], []),
        ([0], [0], [((0, 1), (0, 1))]),
        ([], [1], []),
    ],
)
def test_a_group_ends_where_a_token_of_both_ends(first, second, groups):
    assert align_tokens(first, second) == groups


def test_groups_of_random_divisions_cover_the_text_and_stand_for_equal_bytes():
    draw = random.Random(0)
    for _ in range(200):
        length = draw.randint(1, 30)
        cuts = [sorted({length, *draw.choices(range(1, length + 1), k=draw.randint(0, 10))}) for _ in range(2)]
        sizes = [[b - a for a, b in zip([0, *each], each, strict=False)] for each in cuts]
        groups = align_tokens(*sizes)
        assert len(groups) == len(set(cuts[0]) & set(cuts[1]))
        assert groups[0].first[0] == groups[0].second[0] == 0
        assert (groups[-1].first[1], groups[-1].second[1]) == tuple(map(len, sizes))
        for before, after in pairwise(groups):
            assert (before.first[1], before.second[1]) == (after.first[0], after.second[0])
        for group in groups:
            assert sum(sizes[0][slice(*group.first)]) == sum(sizes[1][slice(*group.second)]) > 0
