"""Interface of all granularities: constraints, a pruned network, and the pruner."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Protocol

from torch import nn

from compress.core.fact import Fact, Value

if TYPE_CHECKING:
    from compress.prune.criteria import Importance


@dataclass(frozen=True)
class Constraints:
    """Limits of pruning.

    Attributes:
        round_to: Channel counts are multiples of it.
        max_ratio: Largest fraction of a layer to remove, in (0, 1).
        protect: Globs of module names to leave alone.
        ceilings: Other ceilings than `max_ratio` by glob of layer names, the first match counting.
    """

    round_to: int = 8
    max_ratio: float = 0.9
    protect: tuple[str, ...] = ()
    ceilings: Mapping[str, float] = field(default_factory=dict)

    def ceiling(self, layers: Iterable[str]) -> float:
        """Lowest ceiling of layers that are pruned together."""
        return min((self._layer_ceiling(layer) for layer in layers), default=self.max_ratio)

    def describe(self) -> dict[str, Value]:
        """The ceilings as values of a fact."""
        return {"max_ratio": self.max_ratio, "layer_max_ratios": tuple(sorted(set(self.ceilings.values())))}

    def _layer_ceiling(self, layer: str) -> float:
        return next((ratio for glob, ratio in self.ceilings.items() if fnmatchcase(layer, glob)), self.max_ratio)


@dataclass(frozen=True, eq=False)
class PrunedModel:
    """A pruned network.

    Attributes:
        module: Eval mode, on the CPU.
        after_step: To be called after each optimizer step, so that removed weights stay zero; None where shapes changed.
        notes: Points for review.
    """

    module: nn.Module
    after_step: Callable[[], None] | None = None
    notes: tuple[Fact, ...] = ()


class Pruner(Protocol):
    """Prunes one dense network, in any number of steps.

    Attributes:
        skipped: Layers that it leaves alone, with reasons.
        protected: Names of the modules whose weights do not count as prunable.
    """

    skipped: tuple[Fact, ...]
    protected: frozenset[str]

    def prune(self, module: nn.Module, fraction: float, importance: Importance) -> PrunedModel:
        """Prune the result of an earlier step, or the dense network, to a fraction of the dense one's cost."""
        ...
