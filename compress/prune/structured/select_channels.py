"""Selection of the channels to remove, as pure functions of scores, widths and costs.

Each group of coupled channels is divided into blocks, so that every width between them is a multiple for fast kernels. The
blocks of all groups form one queue, from whose head blocks are removed until the cost is at most the target.
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
    """Allowed smaller widths of a group, descending.

    They are multiples of lcm(round_to, repeats). If this allows a grouped convolution fewer than two widths, they are multiples
    of `repeats`, the only widths that it can have.

    Args:
        width: Current number of channels.
        initial: Number of channels before any pruning.
        repeats: Channels are removed in sets of this size: the number of groups of grouped convolutions.
        round_to: Divisor of the widths.
        max_ratio: Largest fraction of `initial` to remove, in (0, 1).
    """
    unit = math.lcm(round_to, repeats)
    if repeats > 1 and unit * 2 > initial:
        unit = repeats
    smallest = max(unit, math.ceil(initial * (1 - max_ratio) / unit - 1e-9) * unit)
    return tuple(range((width - 1) // unit * unit, smallest - 1, -unit))


def allowed_head_counts(heads: int, initial: int, max_ratio: float) -> tuple[int, ...]:
    """Smaller numbers of heads that are allowed, descending; at least 1.

    Args:
        heads: Current number.
        initial: Number before any pruning.
        max_ratio: Largest fraction of `initial` to remove.
    """
    return tuple(range(heads - 1, max(1, math.ceil(initial * (1 - max_ratio) - 1e-9)) - 1, -1))


@dataclass(frozen=True)
class LayerCost:
    """Cost of a layer, which is proportional to its output channels times its input channels."""

    cost: float
    out_channels: int
    in_channels: int


@dataclass(frozen=True)
class GroupChoice:
    """A group of coupled channels and its allowed widths.

    Attributes:
        root: Name of the first layer of the group.
        scores: Scores of the sets of `repeats` channels, (width / repeats,).
        width: Current number of channels.
        initial: Number of channels before any pruning.
        smaller: Allowed smaller widths, descending.
        coupled: (layer, side, number of its channels that are removed with one channel of this group).
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
        """The channels to remove so that `width` remain."""
        return lowest_channels(self.scores, (self.width - width) // self.repeats, repeats=self.repeats, width=self.width)

    def keys(self, ranking: Ranking) -> list[float]:
        """Sort key of each block: its mean score, or for local ranking the removed fraction after its removal."""
        if ranking == "local":
            return [1 - w / self.initial for w in self.smaller]
        ascending = self.scores.double().sort().values
        edges = [0, *((self.width - w) // self.repeats for w in self.smaller)]
        return [float(ascending[a:b].mean()) for a, b in pairwise(edges)]


@dataclass
class CostLedger:
    """Costs of the layers of a network while channels are removed."""

    layers: Mapping[str, LayerCost]
    removed: dict[tuple[str, str], float] = field(default_factory=dict)

    def cost(self, name: str) -> float:
        """Current cost of a layer."""
        layer = self.layers[name]
        out_fraction = 1 - self.removed.get((name, "out"), 0.0) / layer.out_channels
        in_fraction = 1 - self.removed.get((name, "in"), 0.0) / layer.in_channels
        return layer.cost * max(out_fraction, 0.0) * max(in_fraction, 0.0)

    def remove(self, choice: GroupChoice, channels: int) -> float:
        """Remove channels of a group; returns the cost that this saves."""
        names = {name for name, _, _ in choice.coupled if name in self.layers}
        before = sum(self.cost(name) for name in names)
        for name, side, per_channel in choice.coupled:
            self.removed[name, side] = self.removed.get((name, side), 0.0) + per_channel * channels
        return before - sum(self.cost(name) for name in names)


MIN_COST = 1e-3
"""Lower bound of the cost of a set of channels, as a fraction of the mean cost of a layer; scores are divided by the cost."""


def cost_weighted(choices: Sequence[GroupChoice], layers: Mapping[str, LayerCost]) -> list[GroupChoice]:
    """Scores divided by cost: of two sets of channels of equal importance, the more expensive one is removed first.

        score / Σ over the coupled layers of (cost of the layer · fraction of its channels on that side)

    This is the greedy solution of a knapsack problem: the largest importance at a bounded cost. Shen et al. 2022 (HALP,
    arXiv:2210.06659) solve it for milliseconds, Theis et al. 2018 (arXiv:1801.05787) for multiply-accumulates.

    Args:
        choices: Groups with scores that estimate changes of the loss.
        layers: Costs by name; the cost of a missing layer is 0.
    """
    minimum = MIN_COST * sum(layer.cost for layer in layers.values()) / max(len(layers), 1)
    savings = [CostLedger(layers).remove(choice, choice.repeats) for choice in choices]
    pairs = zip(choices, savings, strict=True)
    return [replace(choice, scores=choice.scores / max(saving, minimum)) for choice, saving in pairs]


def rank_blocks(choices: Sequence[GroupChoice], ranking: Ranking) -> list[tuple[int, int]]:
    """All blocks of all groups in the order of removal, as (index of the group, its width afterwards).

    `global`: lowest scores of the whole network first; `local`: the same fraction of all groups.
    """
    blocks = sorted(
        (key, index, block) for index, choice in enumerate(choices) for block, key in enumerate(choice.keys(ranking))
    )
    return [(index, choices[index].smaller[block]) for _, index, block in blocks]


def estimate_count(
    choices: Sequence[GroupChoice], blocks: Sequence[tuple[int, int]], layers: Mapping[str, LayerCost], *, saving: float
) -> int:
    """Number of blocks, in their order, whose removal saves `saving`, by the costs of the layers; at most all blocks."""
    widths = [choice.width for choice in choices]
    ledger = CostLedger(layers)
    for count, (index, width) in enumerate(blocks):
        if saving <= 0:
            return count
        saving -= ledger.remove(choices[index], widths[index] - width)
        widths[index] = width
    return len(blocks)


def widths_after(choices: Sequence[GroupChoice], blocks: Sequence[tuple[int, int]], count: int) -> tuple[int, ...]:
    """Width of each group after the removal of the first `count` blocks."""
    widths = [choice.width for choice in choices]
    for index, width in blocks[:count]:
        widths[index] = width
    return tuple(widths)


def fill_budget(
    choices: Sequence[GroupChoice],
    blocks: Sequence[tuple[int, int]],
    count: int,
    layers: Mapping[str, LayerCost],
    *,
    spare: float,
) -> tuple[int, ...]:
    """Widths after the removal of the first `count` blocks, with those blocks restored that fit into the spare cost.

    A large last block can save more than the target needs. Of the blocks before it, the most important are restored first.

    Args:
        choices: Groups.
        blocks: As `rank_blocks` returns them.
        count: Number of removed blocks.
        layers: Costs by name.
        spare: Cost that may be added.
    """
    widths = [choice.width for choice in choices]
    ledger, removals = CostLedger(layers), []
    for index, width in blocks[:count]:
        ledger.remove(choices[index], widths[index] - width)
        removals.append((index, widths[index]))
        widths[index] = width
    final = set()  # groups with a later block that stays removed
    for index, before in reversed(removals):
        if index in final:
            continue
        added = -ledger.remove(choices[index], widths[index] - before)
        if added <= spare:
            spare -= added
            widths[index] = before
        else:
            ledger.remove(choices[index], before - widths[index])
            final.add(index)
    return tuple(widths)


def bisect_min(enough: Callable[[int], bool], start: int, most: int, close: Callable[[], bool] = lambda: False) -> int:
    """Smallest n in 1 … most for which `enough(n)` is True, by doubling steps from `start`, then by bisection.

    Args:
        enough: Monotonic: False up to some n, then True. It is expensive. n = 0 is known not to be enough.
        start: First guess.
        most: Largest n; returned when no n is enough.
        close: Called after each trial; if it returns True, the search ends with the smallest n that was enough.
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
        scores: Scores of the sets of channels, (sets,).
        parts: Indices of channels; channel c is in set c modulo the number of sets.
    """
    bounded = scores.clone()
    for part in sorted(map(sorted, parts)):
        sets = sorted({channel % len(scores) for channel in part})
        bounded[sets[int(bounded[sets].argmax())]] = math.inf
    return bounded


def removable_widths(scores: Tensor, widths: Sequence[int], width: int) -> tuple[int, ...]:
    """The widths that keep all sets with infinite score."""
    finite = int(scores.isfinite().sum())
    return tuple(w for w in widths if (width - w) * len(scores) // width <= finite)


def lowest_channels(scores: Tensor, count: int, *, repeats: int, width: int) -> list[int]:
    """Channels of the `count` sets with the lowest scores: the same positions in each of the `repeats` parts of the width.

    With width 6 and repeats 2, set 0 is channels 0 and 3.
    """
    lowest = scores.argsort(stable=True)[:count].tolist()
    return sorted(channel + part * (width // repeats) for part in range(repeats) for channel in lowest)
