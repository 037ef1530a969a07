from __future__ import annotations

import itertools

import numpy as np
import pytest

from compress.quantize.mixed_precision.deadline import Deadline
from compress.quantize.mixed_precision.under_budget import FRONT, LayerGain, knapsack, search

LAYERS = tuple("abcdefgh")


class Network:
    """Layers whose noises and costs add up, the metric with the noise; `fused` takes that cost off each pair in float."""

    def __init__(self, seed: int, fused: float = 0.0) -> None:
        random = np.random.default_rng(seed)
        self.noise = dict(zip(LAYERS, random.exponential(0.05, len(LAYERS)).tolist(), strict=True))
        self.price = dict(zip(LAYERS, random.exponential(10.0, len(LAYERS)).tolist(), strict=True))
        self.fused = fused
        self.made: list[tuple[str, ...]] = []

    def attempt(self, floats: tuple[str, ...]) -> tuple[float, float]:
        self.made.append(floats)
        noise = sum(value for layer, value in self.noise.items() if layer not in floats) + 1e-9
        return float(np.floor(noise * 20) / 200), -10 * np.log10(noise)

    def cost(self, floats: tuple[str, ...]) -> float:
        pairs = sum(variant in floats and other in floats for variant, other in itertools.pairwise(LAYERS))
        return 100.0 + sum(self.price[layer] for layer in floats) - self.fused * pairs

    def best(self, budget: float) -> tuple[float, float]:
        """Loss and noise of the best set that fits, by trying all."""
        sets = (variant for size in range(len(LAYERS) + 1) for variant in itertools.combinations(LAYERS, size))
        scores = (self.attempt(variant) for variant in sets if self.cost(variant) <= budget)
        return min((drop, -sqnr) for drop, sqnr in scores)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("budget", [100.0, 110.0, 130.0, 170.0, 1000.0])
def test_nothing_that_fits_is_better(seed: int, budget: float) -> None:
    network = Network(seed)
    result = search(LAYERS, network.attempt, network.cost, budget=budget, deadline=Deadline(60))
    assert result.within_budget
    assert result.complete
    assert result.cost == pytest.approx(network.cost(result.float_layers))
    assert result.cost <= budget
    drop, noise = network.best(budget)
    assert result.drop == pytest.approx(drop)
    assert -network.attempt(result.float_layers)[1] == pytest.approx(noise)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("budget", [115.0, 130.0, 150.0])
def test_where_costs_do_not_add_up_what_is_measured_fits_and_little_is_lost(seed: int, budget: float) -> None:
    network = Network(seed, fused=3.0)
    result = search(LAYERS, network.attempt, network.cost, budget=budget, deadline=Deadline(60))
    assert network.cost(result.float_layers) <= budget
    best = 10 ** (network.best(budget)[1] / 10)
    nothing = 10 ** (-network.attempt(())[1] / 10)
    noise = 10 ** (-network.attempt(result.float_layers)[1] / 10)
    assert nothing - noise >= 0.75 * (nothing - best)


def test_layers_that_cost_nothing_are_in_float() -> None:
    network = Network(0)
    network.price |= {"a": -5.0, "c": 0.0}
    assert {"a", "c"} <= set(search(LAYERS, network.attempt, network.cost, budget=100.0, deadline=Deadline(60)).float_layers)


def test_a_budget_under_int8s_own_cost_does_not_hold_and_the_least_is_kept() -> None:
    network = Network(1)
    kept: list[tuple[str, ...]] = []
    result = search(LAYERS, network.attempt, network.cost, budget=50.0, deadline=Deadline(60), on_improvement=kept.append)
    assert (result.within_budget, result.float_layers, result.cost, kept) == (False, (), 100.0, [()])


def test_time_that_is_up_leaves_the_best_so_far() -> None:
    network, kept = Network(2), []
    clock = iter(range(1000))
    result = search(
        LAYERS,
        network.attempt,
        network.cost,
        budget=130.0,
        deadline=Deadline(5, lambda: float(next(clock))),
        on_improvement=kept.append,
    )
    assert not result.complete
    assert result.within_budget
    assert kept[-1] == result.float_layers
    assert result.drop <= network.attempt(())[0]


def test_every_kept_set_fits_and_is_better_than_the_one_before() -> None:
    network, kept = Network(3), []
    search(LAYERS, network.attempt, network.cost, budget=140.0, deadline=Deadline(60), on_improvement=kept.append)
    scores = [(drop, -sqnr) for drop, sqnr in map(network.attempt, kept)]
    assert scores == sorted(scores, reverse=True)
    assert all(network.cost(variant) <= 140.0 for variant in kept)


def test_no_network_is_made_twice() -> None:
    network = Network(4)
    result = search(LAYERS, network.attempt, network.cost, budget=135.0, deadline=Deadline(60))
    assert len(network.made) == len(set(network.made)) == result.trials


def test_a_knapsack_of_many_layers_is_packed_in_time_and_nearly_full() -> None:
    random = np.random.default_rng(0)
    gains = [LayerGain(str(place), 0.0, *random.exponential(1.0, 2).tolist()) for place in range(80)]
    chosen = knapsack(gains, 20.0)
    cost = sum(variant.cost for variant in gains if variant.layer in chosen)
    assert cost <= 20.0
    greedy, spent = 0.0, 0.0
    for variant in sorted(gains, key=lambda item: -item.noise_saved / item.cost):
        if spent + variant.cost <= 20.0:
            greedy, spent = greedy + variant.noise_saved, spent + variant.cost
    assert sum(variant.noise_saved for variant in gains if variant.layer in chosen) >= greedy * 0.999
    assert FRONT >= 1000
