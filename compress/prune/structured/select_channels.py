"""Selection of the channels to remove: a pure function of scores, widths and costs.

Each group of coupled channels is divided into blocks, so that every intermediate width is a multiple that runtimes compute
fast. The blocks of all groups form one queue, and blocks are removed from its head until the cost is at or below its target.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Literal

from torch import Tensor

Ranking = Literal["global", "local"]


def allowed_widths(width: int, initial: int, *, repeats: int, round_to: int, max_ratio: float) -> tuple[int, ...]:
    """The smaller widths that a group may take, descending.

    They are multiples of lcm(round_to, repeats); where that leaves a grouped convolution fewer than two widths, multiples of
    `repeats` alone, since a grouped convolution cannot have any other.

    Args:
        width: Channels now.
        initial: Channels before any pruning; the ceiling counts from it.
        repeats: Groups of grouped convolutions among the layers: channels go in sets of this many.
        round_to: Divisor of the widths.
        max_ratio: Largest fraction of `initial` to remove, in (0, 1).
    """
    unit = math.lcm(round_to, repeats)
    if repeats > 1 and unit * 2 > initial:
        unit = repeats
    smallest = max(unit, math.ceil(initial * (1 - max_ratio) / unit - 1e-9) * unit)
    return tuple(range((width - 1) // unit * unit, smallest - 1, -unit))


@dataclass(frozen=True)
class LayerCost:
    """A layer's cost: `cost` is proportional to its remaining outputs times its remaining inputs."""

    cost: float
    out_channels: int
    in_channels: int


@dataclass(frozen=True)
class GroupChoice:
    """One group and its possible widths.

    Attributes:
        root: Name of the group's first layer.
        scores: One for each set of `repeats` channels, (width / repeats,).
        width: Channels now.
        initial: Channels before any pruning.
        smaller: As `allowed_widths` returns them.
        coupled: (layer, side, its channels that go with each channel of this group).
    """

    root: str
    scores: Tensor
    width: int
    initial: int
    smaller: tuple[int, ...]
    coupled: tuple[tuple[str, Literal["out", "in"], float], ...]

    @property
    def repeats(self) -> int:
        """Channels in a set."""
        return self.width // len(self.scores)

    def lowest_channels(self, width: int) -> list[int]:
        """The channels to remove for `width`."""
        return lowest_channels(self.scores, (self.width - width) // self.repeats, repeats=self.repeats, width=self.width)

    def keys(self, ranking: Ranking) -> list[float]:
        """Sort key of each block: its mean score, or for local ranking the fraction removed after it."""
        if ranking == "local":
            return [1 - w / self.initial for w in self.smaller]
        ascending = self.scores.double().sort().values
        edges = [0, *((self.width - w) // self.repeats for w in self.smaller)]
        return [float(ascending[a:b].mean()) for a, b in pairwise(edges)]


@dataclass
class CostLedger:
    """Running cost of a network during the removal of channels."""

    layers: Mapping[str, LayerCost]
    removed: dict[tuple[str, str], float] = field(default_factory=dict)

    def cost(self, name: str) -> float:
        """Cost of one layer now."""
        layer = self.layers[name]
        out = 1 - self.removed.get((name, "out"), 0.0) / layer.out_channels
        into = 1 - self.removed.get((name, "in"), 0.0) / layer.in_channels
        return layer.cost * max(out, 0.0) * max(into, 0.0)

    def remove(self, choice: GroupChoice, channels: int) -> float:
        """Remove channels of a group; returns the cost saved."""
        touched = {name for name, _, _ in choice.coupled if name in self.layers}
        before = sum(self.cost(name) for name in touched)
        for name, side, per_channel in choice.coupled:
            self.removed[name, side] = self.removed.get((name, side), 0.0) + per_channel * channels
        return before - sum(self.cost(name) for name in touched)


LEAST = 1e-3
"""Smallest cost of a set of channels, as a fraction of the mean layer's; it bounds the division."""


def cost_weighted(choices: Sequence[GroupChoice], layers: Mapping[str, LayerCost]) -> list[GroupChoice]:
    """Scores divided by cost: of two sets of channels of equal importance, the more expensive one is removed first.

        score / Σ over the coupled layers of (cost of the layer · fraction of that side's channels)

    The greedy answer to the knapsack of keeping the most importance at a given cost, which is what Shen et al. 2022 (HALP,
    arXiv:2210.06659) solve for milliseconds and Theis et al. 2018 (arXiv:1801.05787) for multiply-accumulates.

    Args:
        choices: With scores that estimate changes of one loss.
        layers: Costs; a layer that is not in it costs nothing.
    """
    least = LEAST * sum(layer.cost for layer in layers.values()) / max(len(layers), 1)
    saved = [CostLedger(layers).remove(choice, choice.repeats) for choice in choices]
    return [replace(choice, scores=choice.scores / max(saving, least)) for choice, saving in zip(choices, saved, strict=True)]


def rank_blocks(choices: Sequence[GroupChoice], ranking: Ranking) -> list[tuple[int, int]]:
    """All blocks of all groups in the order of removal, as (group, its width afterwards).

    `global`: lowest scores first over the whole network; `local`: all groups by the same fraction.
    """
    blocks = sorted(
        (key, index, block) for index, choice in enumerate(choices) for block, key in enumerate(choice.keys(ranking))
    )
    return [(index, choices[index].smaller[block]) for _, index, block in blocks]


def estimate_count(
    choices: Sequence[GroupChoice], blocks: Sequence[tuple[int, int]], layers: Mapping[str, LayerCost], *, saving: float
) -> int:
    """Number of blocks whose removal saves `saving`, by the layers' own costs; all of them if that is too few."""
    now = [choice.width for choice in choices]
    ledger = CostLedger(layers)
    for done, (index, width) in enumerate(blocks):
        if saving <= 0:
            return done
        saving -= ledger.remove(choices[index], now[index] - width)
        now[index] = width
    return len(blocks)


def widths_after(choices: Sequence[GroupChoice], blocks: Sequence[tuple[int, int]], count: int) -> tuple[int, ...]:
    """Width of each group after the removal of the first `count` blocks."""
    now = [choice.width for choice in choices]
    for index, width in blocks[:count]:
        now[index] = width
    return tuple(now)


def fill_budget(
    choices: Sequence[GroupChoice],
    blocks: Sequence[tuple[int, int]],
    count: int,
    layers: Mapping[str, LayerCost],
    *,
    spare: float,
) -> tuple[int, ...]:
    """Widths when the first `count` blocks are gone but for those that fit into what the last one saved too much.

    A large block at the end overshoots its target; of the blocks before it the most important come back first.

    Args:
        choices: Groups.
        blocks: As `rank_blocks` returns them.
        count: Number of removed blocks.
        layers: Costs.
        spare: Cost that may be added.
    """
    now = [choice.width for choice in choices]
    ledger, removed = CostLedger(layers), []
    for index, width in blocks[:count]:
        ledger.remove(choices[index], now[index] - width)
        removed.append((index, now[index]))
        now[index] = width
    closed = set()  # groups whose later block stays removed
    for index, before in reversed(removed):
        if index in closed:
            continue
        added = -ledger.remove(choices[index], now[index] - before)
        if added <= spare:
            spare -= added
            now[index] = before
        else:
            ledger.remove(choices[index], before - now[index])
            closed.add(index)
    return tuple(now)


def bisect_min(enough: Callable[[int], bool], start: int, most: int, close: Callable[[], bool] = lambda: False) -> int:
    """Smallest n in 1 … most for which `enough(n)` holds, by doubling steps from `start`, then halving.

    Args:
        enough: False, then from some n on True; called as rarely as possible. n = 0 is known not to be enough.
        start: First guess.
        most: Returned when nothing is enough.
        close: Called after each trial; where it is True, the smallest n that was enough is returned.
    """
    low, high, step, n = 0, most + 1, 1, min(max(start, 1), most)
    while high - low > 1 and not close():
        if enough(n):
            high, n = n, n - step
        else:
            low, n = n, n + step
        step *= 2
        if not low < n < high:
            n = (low + high) // 2
    return min(high, most)


def keep_one_of_each(scores: Tensor, parts: Iterable[Iterable[int]]) -> Tensor:
    """Scores with infinity for the best set of channels of each part, so that no part is removed completely.

    Args:
        scores: One for each set of channels.
        parts: Numbers of channels; channel c is of set c modulo the number of sets.
    """
    bounded = scores.clone()
    for part in sorted(map(sorted, parts)):
        sets = sorted({channel % len(scores) for channel in part})
        bounded[sets[int(bounded[sets].argmax())]] = math.inf
    return bounded


def removable_widths(scores: Tensor, widths: Sequence[int], width: int) -> tuple[int, ...]:
    """Those of the smaller widths that leave all sets of infinite score."""
    finite = int(scores.isfinite().sum())
    return tuple(w for w in widths if (width - w) * len(scores) // width <= finite)


def lowest_channels(scores: Tensor, count: int, *, repeats: int, width: int) -> list[int]:
    """The channels with the `count` lowest scores, the same positions in each of the `repeats` parts of the width.

    With width 6, repeats 2 and set 0: channels 0 and 3.
    """
    lowest = scores.argsort(stable=True)[:count].tolist()
    return sorted(channel + part * (width // repeats) for part in range(repeats) for channel in lowest)
