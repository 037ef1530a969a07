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
        if any(attempt(variant)[0] <= budget for variant in itertools.combinations(LAYERS, size))
    )


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("budget", [0.002, 0.05, 0.3, 3.0])
def test_no_more_layers_in_float_than_the_optimum(seed: int, budget: float) -> None:
    costs = dict(zip(LAYERS, np.random.default_rng(seed).exponential(0.1, len(LAYERS)).tolist(), strict=True))
    result = search(LAYERS, additive(costs), budget=budget, deadline=Deadline(60))
    assert result.within_budget
    assert result.complete
    assert result.drop <= budget
    assert len(result.float_layers) == brute(costs, budget)


def test_no_layer_of_the_answer_can_be_quantized() -> None:
    """Where losses do not add up: two layers cancel out, so that the ranking misleads."""

    def attempt(floats: tuple[str, ...]) -> tuple[float, float]:
        drop = (("a" not in floats) != ("b" not in floats)) * 0.5 + ("c" not in floats) * 0.3
        return drop, 10.0 - drop

    result = search(("a", "b", "c", "d"), attempt, budget=0.1, deadline=Deadline(60))
    assert result.within_budget
    for layer in result.float_layers:
        assert attempt(tuple(variant for variant in result.float_layers if variant != layer))[0] > 0.1


def test_time_that_is_up_leaves_the_best_so_far() -> None:
    clock = iter(range(1000))
    kept: list[tuple[str, ...]] = []
    costs = dict.fromkeys(LAYERS, 0.1)
    result = search(
        LAYERS, additive(costs), budget=0.0, deadline=Deadline(9, lambda: float(next(clock))), on_improvement=kept.append
    )
    assert not result.complete
    assert not result.within_budget
    assert kept[-1] == result.float_layers
    assert result.drop == min(additive(costs)(variant)[0] for variant in kept)


def test_every_kept_set_is_better_than_the_one_before() -> None:
    kept: list[tuple[str, ...]] = []
    costs = dict(zip(LAYERS, np.random.default_rng(3).exponential(0.1, len(LAYERS)).tolist(), strict=True))
    attempt = additive(costs)
    search(LAYERS, attempt, budget=0.1, deadline=Deadline(60), on_improvement=kept.append)
    keys = [
        (attempt(variant)[0] > 0.1, len(variant) if attempt(variant)[0] <= 0.1 else attempt(variant)[0]) for variant in kept
    ]
    assert keys == sorted(keys, reverse=True)


def test_nothing_in_float_when_the_budget_holds_anyway() -> None:
    result = search(LAYERS, additive(dict.fromkeys(LAYERS, 0.0)), budget=0.0, deadline=Deadline(60))
    assert (result.float_layers, result.trials) == ((), 1)
