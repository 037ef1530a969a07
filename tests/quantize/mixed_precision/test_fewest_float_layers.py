from __future__ import annotations

import itertools

import numpy as np
import pytest

from compress.quantize.mixed_precision.deadline import Deadline
from compress.quantize.mixed_precision.fewest_float_layers import search

LAYERS = tuple("abcdefg")


def additive(costs: dict[str, float]):
    """A network whose layers' losses add up, as small ones nearly do."""

    def attempt(floats: tuple[str, ...]) -> tuple[float, float]:
        drop = sum(cost for layer, cost in costs.items() if layer not in floats)
        return drop, -10 * np.log10(drop + 1e-12)

    return attempt


def brute(costs: dict[str, float], budget: float) -> int:
    """Fewest layers in float, by trying all sets."""
    attempt = additive(costs)
    return next(
        size
        for size in range(len(LAYERS) + 1)
        if any(attempt(one)[0] <= budget for one in itertools.combinations(LAYERS, size))
    )


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("budget", [0.002, 0.05, 0.3, 3.0])
def test_no_more_layers_in_float_than_the_optimum(seed: int, budget: float) -> None:
    costs = dict(zip(LAYERS, np.random.default_rng(seed).exponential(0.1, len(LAYERS)).tolist(), strict=True))
    found = search(LAYERS, additive(costs), budget=budget, deadline=Deadline(60))
    assert found.within_budget
    assert found.complete
    assert found.drop <= budget
    assert len(found.float_layers) == brute(costs, budget)


def test_no_layer_of_the_answer_can_be_quantized() -> None:
    """Where losses do not add up: two layers cancel out, so that the ranking misleads."""

    def attempt(floats: tuple[str, ...]) -> tuple[float, float]:
        drop = (("a" not in floats) != ("b" not in floats)) * 0.5 + ("c" not in floats) * 0.3
        return drop, 10.0 - drop

    found = search(("a", "b", "c", "d"), attempt, budget=0.1, deadline=Deadline(60))
    assert found.within_budget
    for layer in found.float_layers:
        assert attempt(tuple(one for one in found.float_layers if one != layer))[0] > 0.1


def test_time_that_is_up_leaves_the_best_so_far() -> None:
    clock = iter(range(1000))
    kept: list[tuple[str, ...]] = []
    costs = dict.fromkeys(LAYERS, 0.1)
    found = search(
        LAYERS, additive(costs), budget=0.0, deadline=Deadline(9, lambda: float(next(clock))), on_improvement=kept.append
    )
    assert not found.complete
    assert not found.within_budget
    assert kept[-1] == found.float_layers
    assert found.drop == min(additive(costs)(one)[0] for one in kept)


def test_every_kept_set_is_better_than_the_one_before() -> None:
    kept: list[tuple[str, ...]] = []
    costs = dict(zip(LAYERS, np.random.default_rng(3).exponential(0.1, len(LAYERS)).tolist(), strict=True))
    attempt = additive(costs)
    search(LAYERS, attempt, budget=0.1, deadline=Deadline(60), on_improvement=kept.append)
    keys = [(attempt(one)[0] > 0.1, len(one) if attempt(one)[0] <= 0.1 else attempt(one)[0]) for one in kept]
    assert keys == sorted(keys, reverse=True)


def test_nothing_in_float_when_the_budget_holds_anyway() -> None:
    found = search(LAYERS, additive(dict.fromkeys(LAYERS, 0.0)), budget=0.0, deadline=Deadline(60))
    assert (found.float_layers, found.trials) == ((), 1)
