"""What both granularities share: the limits they keep and what one cut gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class Limits:
    """What pruning must leave.

    Attributes:
        round_to: Channel counts are multiples of it.
        max_ratio: Largest fraction of a layer that may go, in (0, 1).
        protect: Globs of module names to leave alone.
    """

    round_to: int = 8
    max_ratio: float = 0.9
    protect: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Cut:
    """A pruned network.

    Attributes:
        module: Eval mode, on the CPU.
        after_step: To be called after each optimizer step, so that what is gone stays gone; None where nothing can return.
        notes: What a reviewer should know.
    """

    module: nn.Module
    after_step: Callable[[], None] | None = None
    notes: tuple[str, ...] = ()
