"""Stratified splits and class-balanced subsets, as index arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]


def stratified_hold_out(labels: Indices, fraction: float, seed: int) -> tuple[Indices, Indices]:
    """Split sample indices in two, by the same fraction of each class.

    Of a class with n samples, round(fraction · n) are held out, at least one and never all; a class of one sample stays.

    Args:
        labels: Class of each sample, (N,).
        fraction: Share to hold out, in (0, 1).
        seed: Of the choice.

    Returns:
        Indices that stay and indices held out, both sorted; disjoint, together every sample.
    """
    generator = np.random.default_rng([seed, 1])
    held = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == label))
        count = min(max(1, round(fraction * len(members))), len(members) - 1)
        held[members[:count]] = True
    return np.flatnonzero(~held).astype(np.int64), np.flatnonzero(held).astype(np.int64)


def balanced_subset(labels: Indices, limit: int | None, seed: int) -> Indices:
    """At most `limit` sample indices, sorted, drawn from the classes in turn until each is exhausted.

    Args:
        labels: Class of each sample, (N,).
        limit: How many to take; None for all.
        seed: Of the choice.
    """
    if limit is None or limit >= len(labels):
        return np.arange(len(labels), dtype=np.int64)
    generator = np.random.default_rng([seed, 2])
    order = generator.permutation(len(labels))
    turn = np.zeros(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        members = order[labels[order] == label]
        turn[members] = np.arange(len(members))
    return np.sort(order[np.argsort(turn[order], kind="stable")[:limit]]).astype(np.int64)
