from itertools import pairwise

import pytest

from compress.core.errors import ModelError
from compress.models.text.layer_choice import LayerChoice, kept_layers


def choose(count, depth, how="even"):
    return kept_layers(LayerChoice(count=count, choose=how), depth, "net")


def test_even_layers_are_those_of_the_published_students():
    assert choose(6, 12) == (0, 2, 4, 7, 9, 11)
    assert choose(2, 32) == (0, 31)


@pytest.mark.parametrize("depth", [1, 2, 5, 12, 24])
def test_even_layers_hold_both_ends_and_their_distances_differ_by_one_at_most(depth):
    assert choose(depth, depth) == tuple(range(depth))
    assert choose(1, depth) == (0,)
    for count in range(2, depth + 1):
        kept = choose(count, depth)
        assert (len(kept), kept[0], kept[-1]) == (count, 0, depth - 1)
        distances = {right - left for left, right in pairwise(kept)}
        assert min(distances) > 0
        assert max(distances) - min(distances) <= 1


def test_first_and_last_layers():
    assert choose(3, 5, "first") == (0, 1, 2)
    assert choose(3, 5, "last") == (2, 3, 4)


def test_layers_that_do_not_exist_are_named():
    with pytest.raises(ModelError, match="keep_layers names layer 4, 9; net has 4 layers, 0 to 3"):
        kept_layers((0, 4, 9), 4, "net")
    with pytest.raises(ModelError, match="asks for 5 layers; net has 4, 0 to 3"):
        choose(5, 4)
