"""Mixed precision: the fewest float layers that keep the loss of the metric within its budget.

1. Sensitivity: each layer is quantized alone, all others stay in float. The SQNR of the network's outputs, in dB, and the loss
   of the metric rank the layers.
2. Forward: the k most sensitive layers stay in float. Bisection finds the smallest k within the budget.
3. Backward: each float layer is quantized again, the least sensitive first, and stays quantized if the budget still holds.
   In the result, no single layer can be quantized without exceeding the budget.
4. Upward: the most sensitive single layers are not always the best set. Starting from no float layer, the layer that brings the
   loss closest to the budget is added, then the next one, while the set is smaller than the best set so far. Each step tries
   only the `CANDIDATES` most sensitive layers.

Every better set is reported at once, so that after an interruption the best set so far is available.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from compress.core.language import gettext
from compress.core.progress import NullReporter, Reporter
from compress.quantize.mixed_precision.deadline import Deadline

CANDIDATES = 12
"""Number of layers tried at each upward step."""
Layers = tuple[str, ...]
"""Names of float layers, in graph order."""
TrialFn = Callable[[Layers], tuple[float, float]]
"""Maps float layers to the loss of the metric and the SQNR of the outputs in dB."""


@dataclass(frozen=True)
class LayerSensitivity:
    """Cost of quantizing one layer alone.

    Attributes:
        layer: Name of the layer.
        drop: Loss of the metric.
        sqnr_db: SQNR of the network's outputs.
    """

    layer: str
    drop: float
    sqnr_db: float


@dataclass(frozen=True)
class FewestFloatResult:
    """Result of the search.

    Attributes:
        float_layers: Layers that stay in float.
        drop: Loss of the metric.
        within_budget: Whether the loss is within the budget.
        complete: Whether the search ended before its time limit.
        sensitivities: Sensitivities of the layers measured within the time limit, the most sensitive first.
        trials: Number of networks that were built and measured.
    """

    float_layers: Layers
    drop: float
    within_budget: bool
    complete: bool
    sensitivities: tuple[LayerSensitivity, ...]
    trials: int


def search(
    layers: Sequence[str],
    evaluate: TrialFn,
    *,
    budget: float,
    deadline: Deadline,
    on_improvement: Callable[[Layers], None] = lambda _: None,
    reporter: Reporter | None = None,
) -> FewestFloatResult:
    """Find the fewest float layers. The first trial has none and may already be within the budget.

    Args:
        layers: Names of all layers, in graph order.
        evaluate: Builds and measures a network with some layers in float.
        budget: Largest loss of the metric.
        deadline: Time limit.
        on_improvement: Called with each better set.
        reporter: Shows a progress bar.
    """
    state = _FewestFloatSearch(tuple(layers), evaluate, budget, deadline, on_improvement)
    state.consider(())
    if not state.within_budget:
        with (reporter or NullReporter()).bar(gettext("sensitivity of layers"), len(layers)) as bar:
            for layer in layers:
                if deadline.passed():
                    break
                state.measure_sensitivity(layer)
                bar.advance()
        state.forward()
        state.backward()
        state.upward()
        state.backward()
    return state.result()


class _FewestFloatSearch:
    """State of one search."""

    def __init__(
        self, layers: Layers, evaluate: TrialFn, budget: float, deadline: Deadline, on_improvement: Callable[[Layers], None]
    ) -> None:
        self.layers, self.evaluate, self.budget = layers, evaluate, budget
        self.deadline, self.on_improvement = deadline, on_improvement
        self.best: Layers = ()
        self.drop = float("inf")
        self.within_budget = False
        self.trials: dict[Layers, tuple[float, float]] = {}
        self.sensitivities: list[LayerSensitivity] = []

    def consider(self, float_layers: Sequence[str]) -> bool:
        """Measure a set and keep it if it is better; returns whether it is within the budget.

        Within the budget, fewer layers are better. Before any set is within it, a smaller loss is better.
        """
        candidate = self._in_graph_order(float_layers)
        drop, _ = self.trial(candidate)
        within_budget = drop <= self.budget
        if within_budget:
            is_better = len(candidate) < len(self.best) or not self.within_budget
        else:
            is_better = not self.within_budget and drop < self.drop
        if is_better:
            self.best, self.drop, self.within_budget = candidate, drop, within_budget
            self.on_improvement(candidate)
        return within_budget

    def trial(self, float_layers: Layers) -> tuple[float, float]:
        """Loss and SQNR of a set, measured once."""
        if float_layers not in self.trials:
            self.trials[float_layers] = self.evaluate(float_layers)
        return self.trials[float_layers]

    def measure_sensitivity(self, layer: str) -> None:
        """Quantize one layer alone."""
        drop, sqnr_db = self.trial(tuple(name for name in self.layers if name != layer))
        self.sensitivities.append(LayerSensitivity(layer, drop, sqnr_db))

    def ranking(self) -> list[str]:
        """Layers, the most sensitive first; layers without a measurement are last."""
        self.sensitivities.sort(key=lambda sensitivity: (sensitivity.sqnr_db, -sensitivity.drop))
        measured = [sensitivity.layer for sensitivity in self.sensitivities]
        return measured + [name for name in self.layers if name not in measured]

    def forward(self) -> None:
        """Bisect for the smallest number of most sensitive layers within the budget."""
        ranking, low, high = self.ranking(), 0, len(self.layers)
        while high - low > 1 and not self.deadline.passed():
            middle = (low + high) // 2
            low, high = (low, middle) if self.consider(ranking[:middle]) else (middle, high)
        if not self.within_budget and not self.deadline.passed():
            self.consider(ranking)

    def backward(self) -> None:
        """Quantize single layers again until no layer can be quantized without exceeding the budget."""
        before: Layers | None = None
        while self.within_budget and before != self.best:
            before = self.best
            for layer in reversed([name for name in self.ranking() if name in self.best]):
                if self.deadline.passed():
                    return
                self.consider([name for name in self.best if name != layer])

    def upward(self) -> None:
        """Starting from an empty set, add the best layer repeatedly while the set is smaller than the best set."""
        float_layers: Layers = ()
        while len(float_layers) + 1 < (len(self.best) if self.within_budget else len(self.layers)):
            measured: list[tuple[tuple[float, float], Layers]] = []
            for layer in [name for name in self.ranking() if name not in float_layers][:CANDIDATES]:
                if self.deadline.passed():
                    return
                candidate = self._in_graph_order((*float_layers, layer))
                if self.consider(candidate):
                    return
                drop, sqnr_db = self.trials[candidate]
                measured.append(((max(drop, self.budget), -sqnr_db), candidate))
            float_layers = min(measured)[1]

    def result(self) -> FewestFloatResult:
        """The best set so far."""
        return FewestFloatResult(
            self.best, self.drop, self.within_budget, not self.deadline.missed, tuple(self.sensitivities), len(self.trials)
        )

    def _in_graph_order(self, names: Sequence[str]) -> Layers:
        return tuple(name for name in self.layers if name in names)
