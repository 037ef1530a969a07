"""Mixed precision: the most accurate choice of float layers within a size or latency budget.

1. Each layer alone stays in float, all others are quantized. The gain of the layer is the reduction of the noise of the
   outputs, its cost the additional bytes or milliseconds.
2. If gains and costs were additive, the best set would be the solution of a 0/1 knapsack. It is solved exactly over the Pareto
   front of (cost, gain); with many layers, only `FRONT` points of the front are kept.
3. Costs are not exactly additive (runtimes fuse operators and convert at each change of type), so the set is built and
   measured. While it exceeds the budget, the layer with the smallest gain per cost is quantized again.
   The network with all layers in float is measured, too.
4. Local search uses the rest of the budget: layers are added, or exchanged one for one, while the network improves.

A network is better if it loses less of the metric, or has the same loss and less noise; an improvement over the float parent
counts as zero loss. Noise is relative to the signal, 10^(−SQNR/10).

Every better set is reported at once, so that after an interruption the best set so far is available.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from compress.core.language import gettext
from compress.core.progress import NullReporter, Reporter
from compress.quantize.mixed_precision.deadline import Deadline
from compress.quantize.mixed_precision.fewest_float_layers import Layers, TrialFn

CostFn = Callable[[Layers], float]
"""Maps float layers to bytes or milliseconds."""
FRONT = 4000
"""Largest number of points of the Pareto front."""
EXCHANGES = 2
"""Most trials of the local search per layer."""


@dataclass(frozen=True)
class LayerGain:
    """Effect of one layer in float, all others quantized.

    Attributes:
        layer: Name of the layer.
        drop_saved: Reduction of the metric's loss.
        noise_saved: Reduction of the outputs' noise.
        cost: Additional bytes or milliseconds.
    """

    layer: str
    drop_saved: float
    noise_saved: float
    cost: float

    @property
    def gain_per_cost(self) -> float:
        """Noise saved per cost; infinite for a layer without cost."""
        return self.noise_saved / self.cost if self.cost > 0 else float("inf")


@dataclass(frozen=True)
class BudgetResult:
    """Result of the search.

    Attributes:
        float_layers: Layers that stay in float.
        drop: Loss of the metric.
        cost: Bytes or milliseconds of the network.
        within_budget: Whether the cost is within the budget.
        complete: Whether the search ended before its time limit.
        gains: Gains of single layers, the largest gain per cost first.
        trials: Number of networks that were built and measured.
    """

    float_layers: Layers
    drop: float
    cost: float
    within_budget: bool
    complete: bool
    gains: tuple[LayerGain, ...]
    trials: int


def search(
    layers: Sequence[str],
    evaluate: TrialFn,
    cost: CostFn,
    *,
    budget: float,
    deadline: Deadline,
    on_improvement: Callable[[Layers], None] = lambda _: None,
    reporter: Reporter | None = None,
) -> BudgetResult:
    """Find the most accurate set of float layers within the budget. The first trial has no float layer.

    Args:
        layers: Names of all layers, in graph order.
        evaluate: Builds and measures a network with some layers in float.
        cost: Size or latency of such a network.
        budget: Largest cost.
        deadline: Time limit.
        on_improvement: Called with each better set.
        reporter: Shows a progress bar.
    """
    state = _BudgetSearch(tuple(layers), evaluate, cost, budget, deadline, on_improvement)
    state.consider(())
    with (reporter or NullReporter()).bar(gettext("gain of float layers"), len(layers)) as bar:
        for layer in layers:
            if deadline.passed():
                break
            state.measure_layer(layer)
            bar.advance()
    if not deadline.passed():
        state.consider(layers)  # conversions disappear with the last int8 layer, so that it may cost less than single layers do
    state.measure_knapsack()
    state.local_search()
    return state.result()


def knapsack(gains: Sequence[LayerGain], capacity: float) -> Layers:
    """Layers with the largest sum of noise saved whose sum of costs is at most `capacity`; layers without cost are included."""
    free = [gain for gain in gains if gain.cost <= 0 and gain.noise_saved >= 0]
    capacity -= sum(gain.cost for gain in free)
    front: list[_Point] = [(0.0, 0.0, ())]
    for gain in gains:
        if gain.cost > 0 and gain.noise_saved > 0:
            extended = [
                (cost + gain.cost, noise_saved + gain.noise_saved, (*layers, gain.layer))
                for cost, noise_saved, layers in front
                if cost + gain.cost <= capacity
            ]
            front = _pareto_front([*front, *extended])
    best = max(front, key=lambda point: (point[1], -point[0]))
    return (*(gain.layer for gain in free), *best[2])


_Point = tuple[float, float, Layers]
"""Cost, noise saved, layers."""


def _pareto_front(points: list[_Point]) -> list[_Point]:
    """Points that no other point dominates; at most `FRONT`, evenly selected, with the first and the last."""
    front: list[_Point] = []
    for point in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or point[1] > front[-1][1]:
            front.append(point)
    if len(front) <= FRONT:
        return front
    spacing = (len(front) - 1) / (FRONT - 1)
    return [front[round(index * spacing)] for index in range(FRONT)]


class _BudgetSearch:
    """State of one search."""

    def __init__(
        self,
        layers: Layers,
        evaluate: TrialFn,
        cost: CostFn,
        budget: float,
        deadline: Deadline,
        on_improvement: Callable[[Layers], None],
    ) -> None:
        self.layers, self.evaluate, self.measure_cost, self.budget = layers, evaluate, cost, budget
        self.deadline, self.on_improvement = deadline, on_improvement
        self.best: Layers = ()
        self.score = (float("inf"), float("inf"))
        self.cost = float("inf")
        self.trials: dict[Layers, tuple[float, float, float]] = {}
        self.gains: list[LayerGain] = []

    @property
    def within_budget(self) -> bool:
        return self.cost <= self.budget

    def consider(self, float_layers: Sequence[str]) -> tuple[float, float, float]:
        """Measure a set and keep it if it is better; returns its loss, noise and cost.

        Within the budget, the score decides. Before any set is within it, less cost is better.
        """
        candidate = self._in_graph_order(float_layers)
        if candidate not in self.trials:
            drop, sqnr_db = self.evaluate(candidate)
            noise, cost = 10 ** (-sqnr_db / 10), self.measure_cost(candidate)
            self.trials[candidate] = (drop, noise, cost)
            score = max(drop, 0.0), noise
            if cost <= self.budget:
                is_better = score < self.score or not self.within_budget
            else:
                is_better = not self.within_budget and cost < self.cost
            if is_better:
                self.best, self.score, self.cost = candidate, score, cost
                self.on_improvement(candidate)
        return self.trials[candidate]

    def measure_layer(self, layer: str) -> None:
        """Measure the network with only one layer in float."""
        before, after = self.trials[()], self.consider((layer,))
        gain = LayerGain(layer, before[0] - after[0], before[1] - after[1], after[2] - before[2])
        insort(self.gains, gain, key=lambda gain: -gain.gain_per_cost)

    def measure_knapsack(self) -> None:
        """Measure the solution of the knapsack, and quantize layers again while it exceeds the budget."""
        float_layers = list(knapsack(self.gains, self.budget - self.trials[()][2]))
        gains = {gain.layer: gain for gain in self.gains}
        while float_layers and not self.deadline.passed() and self.consider(float_layers)[2] > self.budget:
            float_layers.remove(min(float_layers, key=lambda layer: gains[layer].gain_per_cost))

    def local_search(self) -> None:
        """Add a layer, or exchange it for another one, while the network improves."""
        trials_left = EXCHANGES * len(self.layers)
        improved = self.within_budget
        while improved and not self.deadline.passed():
            improved = False
            for candidate in self._neighbours():
                if trials_left <= 0 or self.deadline.passed():
                    return
                before = self.best
                trials_left -= self._in_graph_order(candidate) not in self.trials
                self.consider(candidate)
                if self.best != before:
                    improved = True
                    break

    def _neighbours(self) -> list[Layers]:
        """Sets with one layer added or exchanged that may be within the budget, the largest expected gain first.

        If the float layers together cost less than the sum of their single costs, a neighbour saves about as much again, so
        its estimated cost may exceed the budget by that saving per layer.
        """
        in_float = [gain for gain in self.gains if gain.layer in self.best]
        saved = self.trials[()][2] + sum(gain.cost for gain in in_float) - self.cost
        budget = self.budget + max(0.0, saved) / max(1, len(in_float) - 1)
        neighbours: list[tuple[float, Layers]] = []
        for new in (gain for gain in self.gains if gain.layer not in self.best):
            if self.cost + new.cost <= budget:
                neighbours.append((new.noise_saved, (*self.best, new.layer)))
            for old in in_float:
                if self.cost + new.cost - old.cost <= budget:
                    others = (layer for layer in self.best if layer != old.layer)
                    neighbours.append((new.noise_saved - old.noise_saved, (*others, new.layer)))
        return [candidate for _, candidate in sorted(neighbours, key=lambda neighbour: -neighbour[0])]

    def result(self) -> BudgetResult:
        """The best set so far."""
        drop, complete = self.trials[self.best][0], not self.deadline.missed
        return BudgetResult(self.best, drop, self.cost, self.within_budget, complete, tuple(self.gains), len(self.trials))

    def _in_graph_order(self, names: Sequence[str]) -> Layers:
        return tuple(name for name in self.layers if name in names)
