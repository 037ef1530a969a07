"""Mixed precision: the fewest layers in float with which the accuracy budget holds.

1. Sensitivity: each layer is quantized alone, the others in float; what that costs the answers (SQNR of the outputs, dB) and
   the metric ranks the layers.
2. Forward: the most sensitive k stay in float; the smallest k that holds is found by halving.
3. Backward: each layer kept is quantized again, the least sensitive first, and stays so where the budget still holds, until no
   layer of the answer can be quantized alone without breaking it.
4. Upward: layers that matter alone need not be those that matter together. So from nothing in float, the layer that brings the
   loss nearest to the budget is added, then the next, as long as that may hold with fewer layers than found so far; only the
   `WAYS` with the largest part in the noise are tried at a time.

The best set so far is handed to `keep` whenever one is found, so that a search cut short leaves it behind.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from compress.core.progress import NullReporter, Reporter

WAYS = 12
"""Layers tried at each step upward."""
Evaluation = Callable[[tuple[str, ...]], tuple[float, float]]
"""Names of the layers in float → loss of the metric, SQNR of the outputs in dB."""


@dataclass(frozen=True)
class LayerSensitivity:
    """What quantizing one layer alone costs.

    Attributes:
        layer: Its name.
        drop: Loss of the metric.
        sqnr_db: Of the network's outputs.
    """

    layer: str
    drop: float
    sqnr_db: float


@dataclass(frozen=True)
class FewestFloatResult:
    """What came of the search.

    Attributes:
        floats: Layers that stay in float.
        drop: Loss of the metric with them.
        holds: Whether that is in the budget.
        complete: The search ended by itself and not by the clock.
        sensitivities: Most sensitive first; those measured before the time was up.
        tried: Networks made.
    """

    floats: tuple[str, ...]
    drop: float
    holds: bool
    complete: bool
    sensitivities: tuple[LayerSensitivity, ...]
    tried: int


def search(
    layers: Sequence[str],
    attempt: Evaluation,
    *,
    budget: float,
    seconds: float,
    keep: Callable[[tuple[str, ...]], None] = lambda _: None,
    clock: Callable[[], float] = time.monotonic,
    reporter: Reporter | None = None,
) -> FewestFloatResult:
    """Search; with nothing in float first, which may hold already.

    Args:
        layers: Names, in graph order.
        attempt: Makes a network with some layers in float and measures it.
        budget: Largest loss of the metric.
        seconds: When to stop.
        keep: Told each better set.
        clock: In seconds.
        reporter: Shows a bar.
    """
    work = _Search(tuple(layers), attempt, budget, clock() + seconds, keep, clock)
    work.consider(())
    if not work.holds:
        with (reporter or NullReporter()).bar("sensitivity of layers", len(layers)) as bar:
            for layer in layers:
                if work.late():
                    break
                work.sense(layer)
                bar.advance()
        work.forward()
        work.backward()
        work.upward()
        work.backward()
    return work.found()


class _Search:
    """One search under way."""

    def __init__(
        self,
        layers: tuple[str, ...],
        attempt: Evaluation,
        budget: float,
        end: float,
        keep: Callable[[tuple[str, ...]], None],
        clock: Callable[[], float],
    ) -> None:
        self.layers, self.attempt, self.budget, self.end, self.keep, self.clock = layers, attempt, budget, end, keep, clock
        self.best: tuple[str, ...] = ()
        self.drop = float("inf")
        self.holds = False
        self.seen: dict[tuple[str, ...], tuple[float, float]] = {}
        self.cut = False
        self.sensed: list[LayerSensitivity] = []

    def late(self) -> bool:
        """Whether the time is up."""
        self.cut = self.cut or self.clock() >= self.end
        return self.cut

    def consider(self, floats: tuple[str, ...]) -> bool:
        """Try a set; take it when it is better: in the budget with fewer layers, or nearer to it when none was yet."""
        floats = tuple(name for name in self.layers if name in floats)
        drop, _ = self.made(floats)
        holds = drop <= self.budget
        better = (len(floats) < len(self.best) or not self.holds) if holds else (not self.holds and drop < self.drop)
        if better:
            self.best, self.drop, self.holds = floats, drop, holds
            self.keep(floats)
        return holds

    def made(self, floats: tuple[str, ...]) -> tuple[float, float]:
        """Loss and SQNR of a set, made once."""
        if floats not in self.seen:
            self.seen[floats] = self.attempt(floats)
        return self.seen[floats]

    def sense(self, layer: str) -> None:
        """Quantize one layer alone."""
        drop, sqnr_db = self.made(tuple(name for name in self.layers if name != layer))
        self.sensed.append(LayerSensitivity(layer, drop, sqnr_db))

    def ranked(self) -> list[str]:
        """Most sensitive first; what was not measured last."""
        self.sensed.sort(key=lambda one: (one.sqnr_db, -one.drop))
        known = [one.layer for one in self.sensed]
        return known + [name for name in self.layers if name not in known]

    def forward(self) -> None:
        """The smallest k that holds, by halving."""
        ranked, low, high = self.ranked(), 0, len(self.layers)
        while high - low > 1 and not self.late():
            middle = (low + high) // 2
            low, high = (low, middle) if self.consider(tuple(ranked[:middle])) else (middle, high)
        if not self.holds and not self.late():
            self.consider(tuple(ranked))

    def backward(self) -> None:
        """Quantize again what need not be in float."""
        before: tuple[str, ...] | None = None
        while self.holds and before != self.best:
            before = self.best
            for layer in reversed([name for name in self.ranked() if name in self.best]):
                if self.late():
                    return
                self.consider(tuple(name for name in self.best if name != layer))

    def upward(self) -> None:
        """Layers into float one by one, each time the best of all, while that may need fewer than found so far."""
        floats: tuple[str, ...] = ()
        while len(floats) + 1 < (len(self.best) if self.holds else len(self.layers)):
            ways = [name for name in self.ranked() if name not in floats][:WAYS]
            tried: list[tuple[tuple[float, float], tuple[str, ...]]] = []
            for layer in ways:
                if self.late():
                    return
                one = tuple(name for name in self.layers if name in (*floats, layer))
                holds = self.consider(one)
                drop, sqnr_db = self.seen[one]
                tried.append(((max(drop, self.budget), -sqnr_db), one))
                if holds:
                    return
            floats = min(tried)[1]

    def found(self) -> FewestFloatResult:
        """The answer."""
        return FewestFloatResult(self.best, self.drop, self.holds, not self.cut, tuple(self.sensed), len(self.seen))
