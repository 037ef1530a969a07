"""Common interface of the pruners of all granularities: constraints, pruned network, pruner."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Protocol

from torch import nn

from compress.core.fact import Fact, Value

if TYPE_CHECKING:
    from compress.prune.criteria import Importance


MASK = "attention_mask"
"""Name of the input that is 1 at tokens and 0 at padding, (N, L)."""


@dataclass(frozen=True)
class Constraints:
    """Limits of pruning.

    Attributes:
        round_to: Channel counts are multiples of it.
        max_ratio: Largest fraction of a layer to remove, in (0, 1).
        protect: Globs of module names that are not pruned.
        ceilings: Largest fraction for the layers that match a glob, in place of `max_ratio`; the first match counts.
    """

    round_to: int = 8
    max_ratio: float = 0.9
    protect: tuple[str, ...] = ()
    ceilings: Mapping[str, float] = field(default_factory=dict)

    def ceiling(self, layers: Iterable[str]) -> float:
        """Lowest ceiling of the layers that are pruned together."""
        return min((self._layer_ceiling(layer) for layer in layers), default=self.max_ratio)

    def describe(self) -> dict[str, Value]:
        """The ceilings, as values of a fact."""
        return {"max_ratio": self.max_ratio, "layer_max_ratios": tuple(sorted(set(self.ceilings.values())))}

    def _layer_ceiling(self, layer: str) -> float:
        return next((ratio for glob, ratio in self.ceilings.items() if fnmatchcase(layer, glob)), self.max_ratio)


@dataclass(frozen=True, eq=False)
class PrunedModel:
    """A pruned network.

    Attributes:
        module: The network, in eval mode, on the CPU.
        after_step: Sets the removed weights to zero again; call it after each optimizer step. None where shapes changed.
        notes: Points for review.
    """

    module: nn.Module
    after_step: Callable[[], None] | None = None
    notes: tuple[Fact, ...] = ()


class Pruner(Protocol):
    """Prunes one dense network, in any number of steps.

    Attributes:
        skipped: Layers that it does not prune, with reasons.
        protected: Names of the modules whose weights do not count as prunable.
    """

    skipped: tuple[Fact, ...]
    protected: frozenset[str]

    def prune(self, module: nn.Module, fraction: float, importance: Importance) -> PrunedModel:
        """Prune the dense network, or the result of an earlier step, to a fraction of the cost of the dense network."""
        ...
