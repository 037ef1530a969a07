"""Stratified splits and class-balanced subsets, as index arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]


Item = TypeVar("Item")


def hold_out(items: Sequence[Item], fraction: float, seed: Sequence[int]) -> tuple[tuple[Item, ...], tuple[Item, ...]]:
    """Hold out a random fraction, at least one sample, without regard to classes; both parts keep the order.

    Args:
        items: Samples.
        fraction: Fraction to hold out, in (0, 1).
        seed: Of the choice.
    """
    order = np.random.default_rng(seed).permutation(len(items))
    held = set(order[: max(1, round(fraction * len(items)))].tolist())
    rest = tuple(item for index, item in enumerate(items) if index not in held)
    return rest, tuple(item for index, item in enumerate(items) if index in held)


def divide_splits(
    splits: Mapping[str, Item], divide: Callable[[Item, float], tuple[Item, Item]], *, validation: float, test: float
) -> tuple[Item, Item, Item]:
    """Samples for training, validation and test, from a source with some of these splits.

    A source with only `val` is tested on it; missing splits are held out from the training samples.

    Args:
        splits: Samples of `train`, `val` and `test`, or of `all`.
        divide: (samples, fraction, …) → the rest, and the held-out samples.
        validation: Fraction to hold out for validation.
        test: Fraction to hold out for the test.
    """
    train = splits["all"] if "all" in splits else splits["train"]
    tested, validated = splits.get("test"), splits.get("val")
    if tested is None:
        tested, validated = validated, None
    if tested is None:
        train, tested = divide(train, test)
    if validated is None:
        train, validated = divide(train, validation)
    return train, validated, tested


def limit_items(items: Sequence[Item], limit: int | None, seed: Sequence[int]) -> tuple[Item, ...]:
    """At most `limit` random samples, in their order; all for None.

    Args:
        items: Samples.
        limit: Largest number of samples.
        seed: Of the choice.
    """
    if limit is None or limit >= len(items):
        return tuple(items)
    order = np.random.default_rng(seed).permutation(len(items))[:limit]
    return tuple(items[index] for index in sorted(order.tolist()))


def stratified_hold_out(labels: Indices, fraction: float, seed: int) -> tuple[Indices, Indices]:
    """Split sample indices in two, by the same fraction of each class.

    Of a class with n > 1 samples, round(fraction · n) are held out, at least one and at most n − 1; of n = 1 none.

    Args:
        labels: Class of each sample, (N,).
        fraction: Fraction to hold out, in (0, 1).
        seed: Of the choice.

    Returns:
        Remaining and held-out indices, sorted and disjoint, together every sample.
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
        limit: Largest number of samples; None for all.
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
