from math import prod

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from compress.prune.unstructured.erk import erk_densities, share_removals
from compress.prune.unstructured.keep_masks import keep_masks

SHAPES = {"first": (16, 3, 3, 3), "middle": (64, 32, 3, 3), "wide": (512, 256), "head": (10, 512)}


def test_erk_gives_the_paper_s_densities_where_no_layer_saturates():
    density = erk_densities({"a": (300, 784), "b": (100, 300)}, 0.05)
    scale = {name: (n_in + n_out) / (n_in * n_out) for name, (n_out, n_in) in {"a": (300, 784), "b": (100, 300)}.items()}
    assert density["a"] / density["b"] == pytest.approx(scale["a"] / scale["b"])


@given(density=st.floats(0.02, 1.0))
def test_erk_meets_the_density_and_makes_small_layers_denser(density):
    result = erk_densities(SHAPES, density)
    remaining = sum(result[name] * prod(shape) for name, shape in SHAPES.items())
    assert remaining == pytest.approx(density * sum(map(prod, SHAPES.values())))
    assert all(0 < d <= 1 for d in result.values())
    assert result["first"] >= result["middle"]
    assert result["head"] >= result["wide"]


def test_no_layer_falls_below_its_least_density():
    result = erk_densities(SHAPES, 0.1, least={"wide": 0.09})
    assert result["wide"] >= 0.09
    assert sum(result[n] * prod(s) for n, s in SHAPES.items()) == pytest.approx(0.1 * sum(map(prod, SHAPES.values())))


@pytest.mark.parametrize("density", [0.0, -0.1, 1.1])
def test_a_density_outside_its_range_is_refused(density):
    with pytest.raises(ValueError, match="outside"):
        erk_densities(SHAPES, density)


@given(weights=st.lists(st.floats(0.1, 10), min_size=1, max_size=6), count=st.integers(0, 500))
def test_shares_are_whole_and_add_up(weights, count):
    named = {str(i): w for i, w in enumerate(weights)}
    result = share_removals(named, dict.fromkeys(named, 1000), count)
    assert sum(result.values()) == count
    assert all(abs(result[name] - count * w / sum(weights)) <= 1 for name, w in named.items())


def test_masks_follow_the_budget():
    scores = {name: torch.rand(shape) for name, shape in SHAPES.items()}
    total = sum(map(prod, SHAPES.values()))
    masks = keep_masks(scores, round(0.9 * total), ranking="erk", max_ratio=1.0)
    expected = erk_densities(SHAPES, 1 - round(0.9 * total) / total)
    assert sum(int((~mask).sum()) for mask in masks.values()) == round(0.9 * total)
    for name, mask in masks.items():
        assert float(mask.float().mean()) == pytest.approx(expected[name], abs=2 / mask.numel())
