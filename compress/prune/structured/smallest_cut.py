"""The smallest cut with which a network meets its cost, where each cut is built and measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from compress.prune.structured.select_channels import bisect_min


@dataclass(frozen=True)
class Cut:
    """A network after a cut.

    Attributes:
        count: How much was cut.
        module: The network.
        reached: Its cost.
    """

    count: int
    module: nn.Module
    reached: float


def smallest_cut(
    build: Callable[[int], nn.Module], measure: Callable[[nn.Module], float], target: float, *, guess: int, most: int
) -> Cut:
    """The last cut tried that meets the target, or where none does, the last one tried; see `bisect_min`.

    Args:
        build: Network after a cut of n, 1 … `most`; a larger n costs no more.
        measure: Its cost.
        target: Largest cost.
        guess: First n that is tried.
        most: Largest n, at least 1.
    """
    best: Cut | None = None

    def enough(count: int) -> bool:
        nonlocal best
        module = build(count)
        reached = measure(module)
        if best is None or reached <= target or best.reached > target:
            best = Cut(count, module, reached)
        return reached <= target

    bisect_min(enough, guess, most)
    assert best is not None  # noqa: S101  # at least one cut was tried
    return best
