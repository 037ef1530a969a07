import torch
from hypothesis import given
from hypothesis import strategies as st

from compress.prune.structured.select_channels import (
    GroupChoice,
    LayerCost,
    allowed_widths,
    bisect_min,
    cost_weighted,
    estimate_count,
    fill_budget,
    lowest_channels,
    rank_blocks,
    widths_after,
)


@given(
    width=st.integers(1, 300),
    repeats=st.sampled_from([1, 2, 4, 6, 13, 32]),
    round_to=st.sampled_from([1, 4, 8, 16]),
    max_ratio=st.floats(0.05, 0.95),
)
def test_widths_are_smaller_divisible_and_above_the_ceiling(width, repeats, round_to, max_ratio):
    result = allowed_widths(width, width, repeats=repeats, round_to=round_to, max_ratio=max_ratio)
    assert list(result) == sorted(set(result), reverse=True)
    for w in result:
        assert 0 < w < width
        assert w % repeats == 0
        assert w >= width * (1 - max_ratio) - 1e-6
        if repeats == 1:
            assert w % round_to == 0


def test_the_ceiling_counts_from_the_width_before_any_pruning():
    assert allowed_widths(16, 64, repeats=1, round_to=8, max_ratio=0.75) == ()
    assert allowed_widths(24, 64, repeats=1, round_to=8, max_ratio=0.75) == (16,)


def test_an_odd_width_is_first_cut_to_a_multiple():
    assert allowed_widths(36, 36, repeats=1, round_to=8, max_ratio=0.5) == (32, 24)


def _choice(name, scores, smaller):
    return GroupChoice(name, torch.tensor(scores), len(scores), len(scores), smaller, ((name, "out", 1.0),))


def test_global_ranking_takes_the_lowest_blocks_first_and_local_equal_fractions():
    weak, strong = _choice("weak", [1.0, 2.0, 3.0, 4.0], (2, 1)), _choice("strong", [10.0, 20.0, 30.0, 40.0], (2, 1))
    assert rank_blocks([strong, weak], "global") == [(1, 2), (1, 1), (0, 2), (0, 1)]
    assert rank_blocks([strong, weak], "local") == [(0, 2), (1, 2), (0, 1), (1, 1)]
    assert widths_after([strong, weak], rank_blocks([strong, weak], "global"), 3) == (2, 1)


def test_the_estimate_multiplies_outputs_and_inputs():
    a = GroupChoice("a", torch.arange(4.0), 4, 4, (2,), (("a", "out", 1.0), ("b", "in", 1.0)))
    b = GroupChoice("b", torch.arange(4.0) + 10, 4, 4, (2,), (("b", "out", 1.0),))
    layers = {"a": LayerCost(100.0, 4, 3), "b": LayerCost(100.0, 4, 4)}
    blocks = rank_blocks([a, b], "global")
    assert estimate_count([a, b], blocks, layers, saving=100.0) == 1  # half of a, half of b
    assert estimate_count([a, b], blocks, layers, saving=100.1) == 2  # and half of the half of b that is left
    assert estimate_count([a, b], blocks, layers, saving=125.1) == 2  # all there is


def test_lowest_repeats_places_over_the_parts():
    assert lowest_channels(torch.tensor([3.0, 1.0, 2.0]), 2, repeats=1, width=3) == [1, 2]
    assert lowest_channels(torch.tensor([3.0, 1.0, 2.0]), 1, repeats=2, width=6) == [1, 4]


@given(most=st.integers(1, 60), edge=st.integers(1, 70), start=st.integers(-5, 80))
def test_shortest_finds_the_edge_from_any_guess(most, edge, start):
    calls = []

    def enough(n):
        assert 1 <= n <= most
        assert n not in calls
        calls.append(n)
        return n >= edge

    result = bisect_min(enough, start, most)
    assert result == min(edge, most)
    assert result in calls


def test_shortest_ends_where_what_is_known_will_do():
    calls = []
    result = bisect_min(lambda n: calls.append(n) or n >= 10, 14, 100, lambda: 10 <= calls[-1] <= 14 if calls else False)
    assert (result, calls) == (14, [14])


def test_scores_are_divided_by_what_a_set_of_channels_costs():
    layers = {"a": LayerCost(8.0, 4, 3), "b": LayerCost(12.0, 2, 4)}
    both = GroupChoice("a", torch.tensor([1.0, 2.0, 3.0, 4.0]), 4, 4, (2,), (("a", "out", 1.0), ("b", "in", 1.0)))
    pairs = GroupChoice("b", torch.tensor([5.0]), 2, 2, (1,), (("b", "out", 1.0),))
    result = cost_weighted([both, pairs], layers)
    torch.testing.assert_close(result[0].scores, both.scores / (8 / 4 + 12 / 4))
    torch.testing.assert_close(result[1].scores, pairs.scores / 12.0)


def test_channels_that_cost_nothing_go_last():
    layers = {"a": LayerCost(1.0, 4, 3)}
    free, dear = (GroupChoice(name, torch.ones(4), 4, 4, (2,), ((name, "out", 1.0),)) for name in ("free", "a"))
    result = cost_weighted([free, dear], layers)
    assert rank_blocks(result, "global") == [(1, 2), (0, 2)]


def test_what_the_last_block_saved_too_much_comes_back_most_important_first():
    layers = {name: LayerCost(cost, 4, 1) for name, cost in (("a", 4.0), ("b", 8.0), ("c", 400.0))}
    small, middle, large = (GroupChoice(n, torch.ones(4), 4, 4, (3, 2, 1), ((n, "out", 1.0),)) for n in layers)
    choices, blocks = [small, middle, large], [(0, 3), (1, 3), (0, 2), (2, 3)]  # costs 1, 2, 1 and 100
    assert fill_budget(choices, blocks, 4, layers, spare=0.5) == (2, 3, 3)
    assert fill_budget(choices, blocks, 4, layers, spare=1.5) == (3, 3, 3)
    assert fill_budget(choices, blocks, 4, layers, spare=2.5) == (4, 3, 3)
    assert fill_budget(choices, blocks, 4, layers, spare=99.0) == (4, 4, 3)
