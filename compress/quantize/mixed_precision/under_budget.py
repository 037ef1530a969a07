"""Mixed precision the other way round: the layers in float that are most accurate under a size or latency budget.

1. Each layer alone is put in float, the others in int8: what that wins of the answers' noise, and what it costs.
2. Which layers together win most under the budget is a knapsack, if wins and costs add up. It is solved exactly, by keeping
   the sets of which no other costs less and wins more; with many layers only `FRONT` of them.
3. Costs do not quite add up (a runtime fuses, and converts at each change), so the set is made and measured; while it costs too
   much, the layer that wins least for its cost is quantized again.
4. What room is left is filled: layers are added, and exchanged one for one, where the network that comes of it is better.

Better is less of the metric lost, then less noise in the answers; to gain on the float parent is luck, and counts as losing
nothing. The best network so far is handed to `keep` whenever one is
found, so that a search cut short leaves it behind. Noise is that of the outputs relative to their signal, 10^(−SQNR/10).
"""

from __future__ import annotations

import time
from bisect import insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from compress.core.progress import NullReporter, Reporter
from compress.quantize.mixed_precision.fewest_float_layers import Evaluation

Cost = Callable[[tuple[str, ...]], float]
"""Names of the layers in float → bytes or milliseconds."""
FRONT = 4000
"""Sets kept while the knapsack is packed."""
EXCHANGES = 2
"""Exchanges tried for each layer at most."""


@dataclass(frozen=True)
class LayerGain:
    """What one layer in float brings, the others in int8.

    Attributes:
        layer: Its name.
        drop: Loss of the metric that it saves.
        noise: Noise of the answers that it saves.
        cost: Bytes or milliseconds more.
    """

    layer: str
    drop: float
    noise: float
    cost: float


@dataclass(frozen=True)
class BudgetResult:
    """What came of the search.

    Attributes:
        floats: Layers in float.
        drop: Loss of the metric with them.
        cost: Of that network.
        holds: Whether that is in the budget.
        complete: The search ended by itself and not by the clock.
        worths: Of the layers, those that win most noise for their cost first.
        tried: Networks made.
    """

    floats: tuple[str, ...]
    drop: float
    cost: float
    holds: bool
    complete: bool
    worths: tuple[LayerGain, ...]
    tried: int


def search(
    layers: Sequence[str],
    attempt: Evaluation,
    cost: Cost,
    *,
    budget: float,
    seconds: float,
    keep: Callable[[tuple[str, ...]], None] = lambda _: None,
    clock: Callable[[], float] = time.monotonic,
    reporter: Reporter | None = None,
) -> BudgetResult:
    """Search; with nothing in float first, which must hold for anything to be won.

    Args:
        layers: Names, in graph order.
        attempt: Makes a network with some layers in float and measures it.
        cost: Size or latency of such a network.
        budget: Largest cost.
        seconds: When to stop.
        keep: Told each better set.
        clock: In seconds.
        reporter: Shows a bar.
    """
    work = _Search(tuple(layers), attempt, cost, budget, clock() + seconds, keep, clock)
    work.consider(())
    with (reporter or NullReporter()).bar("worth of layers in float", len(layers)) as bar:
        for layer in layers:
            if work.late():
                break
            work.weigh(layer)
            bar.advance()
    work.knapsack()
    work.fill()
    return work.found()


def knapsack(worths: Sequence[LayerGain], room: float) -> tuple[str, ...]:
    """Layers that save most noise together for no more than `room`, if both add up; those that cost nothing are always in."""
    free = [one for one in worths if one.cost <= 0 and one.noise >= 0]
    room -= sum(one.cost for one in free)
    front: list[tuple[float, float, tuple[str, ...]]] = [(0.0, 0.0, ())]
    for one in (each for each in worths if each.cost > 0 and each.noise > 0):
        more = [(cost + one.cost, won + one.noise, (*held, one.layer)) for cost, won, held in front if cost + one.cost <= room]
        front = _undominated([*front, *more])
    best = max(front, key=lambda each: (each[1], -each[0]))
    return (*(one.layer for one in free), *best[2])


def _undominated(sets: list[tuple[float, float, tuple[str, ...]]]) -> list[tuple[float, float, tuple[str, ...]]]:
    """Those of which no other costs less and wins as much; of too many, evenly some and the last."""
    kept: list[tuple[float, float, tuple[str, ...]]] = []
    for one in sorted(sets, key=lambda each: (each[0], -each[1])):
        if not kept or one[1] > kept[-1][1]:
            kept.append(one)
    if len(kept) <= FRONT:
        return kept
    step = (len(kept) - 1) / (FRONT - 1)
    return [kept[round(place * step)] for place in range(FRONT)]


class _Search:
    """One search under way."""

    def __init__(
        self,
        layers: tuple[str, ...],
        attempt: Evaluation,
        cost: Cost,
        budget: float,
        end: float,
        keep: Callable[[tuple[str, ...]], None],
        clock: Callable[[], float],
    ) -> None:
        self.layers, self.attempt, self.measure, self.budget = layers, attempt, cost, budget
        self.end, self.keep, self.clock = end, keep, clock
        self.best: tuple[str, ...] = ()
        self.score = (float("inf"), float("inf"))
        self.cost = float("inf")
        self.seen: dict[tuple[str, ...], tuple[float, float, float]] = {}
        self.worths: list[LayerGain] = []
        self.cut = False

    @property
    def holds(self) -> bool:
        return self.cost <= self.budget

    def late(self) -> bool:
        """Whether the time is up."""
        self.cut = self.cut or self.clock() >= self.end
        return self.cut

    def consider(self, floats: Sequence[str]) -> tuple[float, float, float]:
        """Try a set; take it when it is better. Its loss, noise and cost."""
        wanted = tuple(name for name in self.layers if name in floats)
        if wanted not in self.seen:
            drop, sqnr_db = self.attempt(wanted)
            self.seen[wanted] = (drop, 10 ** (-sqnr_db / 10), self.measure(wanted))
            drop, noise, cost = self.seen[wanted]
            fits = cost <= self.budget
            score = max(drop, 0.0), noise
            better = score < self.score or not self.holds if fits else not self.holds and cost < self.cost
            if better:
                self.best, self.score, self.cost = wanted, score, cost
                self.keep(wanted)
        return self.seen[wanted]

    def weigh(self, layer: str) -> None:
        """One layer alone in float."""
        before, after = self.seen[()], self.consider((layer,))
        insort(
            self.worths,
            LayerGain(layer, before[0] - after[0], before[1] - after[1], after[2] - before[2]),
            key=lambda one: -self.ratio(one),
        )

    @staticmethod
    def ratio(one: LayerGain) -> float:
        """Noise saved for the cost; what costs nothing goes first."""
        return one.noise / one.cost if one.cost > 0 else float("inf")

    def knapsack(self) -> None:
        """The knapsack, made and measured; layers out again while it costs too much."""
        room = self.budget - self.seen[()][2]
        chosen = list(knapsack(self.worths, room))
        by_name = {one.layer: one for one in self.worths}
        while chosen and not self.late() and self.consider(chosen)[2] > self.budget:
            chosen.remove(min(chosen, key=lambda name: self.ratio(by_name[name])))

    def fill(self) -> None:
        """Add layers, then exchange one for one, while that is better."""
        left = EXCHANGES * len(self.layers)
        improved = self.holds
        while improved and not self.late():
            improved = False
            for floats in self._neighbours():
                if left <= 0 or self.late():
                    return
                before = self.best
                left -= tuple(name for name in self.layers if name in floats) not in self.seen
                self.consider(floats)
                if self.best != before:
                    improved = True
                    break

    def _neighbours(self) -> list[tuple[str, ...]]:
        """Sets a layer larger or with one exchanged that may fit, those that should win most first.

        What the layers in float cost less together than each alone, neighbours will save again: that much over may fit.
        """
        found = []
        chosen = [one.cost for one in self.worths if one.layer in self.best]
        saved = max(0.0, self.seen[()][2] + sum(chosen) - self.cost) / max(1, len(chosen) - 1)
        budget = self.budget + saved
        for new in (one for one in self.worths if one.layer not in self.best):
            if self.cost + new.cost <= budget:
                found.append((new.noise, (*self.best, new.layer)))
            for old in (one for one in self.worths if one.layer in self.best):
                if self.cost + new.cost - old.cost <= budget:
                    rest = (name for name in self.best if name != old.layer)
                    found.append((new.noise - old.noise, (*rest, new.layer)))
        return [floats for _, floats in sorted(found, key=lambda each: -each[0])]

    def found(self) -> BudgetResult:
        """The answer."""
        return BudgetResult(
            self.best, self.seen[self.best][0], self.cost, self.holds, not self.cut, tuple(self.worths), len(self.seen)
        )
