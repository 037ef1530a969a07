"""The first trial of a study: the recipe as it is written, where its values are within the space."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard

from compress.config.key_path import KeyPath
from compress.config.search_settings import SearchSpace
from compress.config.search_space import AS_WRITTEN, Tree, combine
from compress.search.suggest import choice_labels

_MISSING = object()
_LEAST_STEPS = 1e-6
"""Largest distance of a value from a multiple of the step, in steps."""


def written_values(tree: Tree, resolved: Mapping[str, object], space: Mapping[str, SearchSpace]) -> dict[str, object]:
    """The values of the recipe within the space, by key path, as a storage keeps them; of those outside, none.

    Args:
        tree: The recipe as plain values.
        resolved: The same recipe with its defaults.
        space: Space of each parameter by key path.
    """
    known: dict[str, object] = {}

    def read(key: str, values: SearchSpace, path: KeyPath) -> object:
        for value in (_value_at(tree, path), _value_at(resolved, path)):
            if (label := _label(values, value)) is not _MISSING:
                known[key] = label
                break
        return AS_WRITTEN

    combine(tree, space, read)
    return known


def _value_at(tree: object, path: KeyPath) -> object:
    """The value at a key path; `_MISSING` where there is none."""
    node: Any = tree
    try:
        for key in path:
            node = node[key]
    except (KeyError, IndexError, TypeError):
        return _MISSING
    return node


def _label(space: SearchSpace, value: object) -> object:
    """A value as a storage keeps it; `_MISSING` where it is outside the space."""
    if value is _MISSING:
        return _MISSING
    if space.optional:
        return True
    if space.choice is not None:
        index = next((index for index, choice in enumerate(space.choice) if _is_same(choice, value)), None)
        return _MISSING if index is None else choice_labels(space.choice)[index]
    return value if _is_number(value) and _is_within(space, float(value)) else _MISSING


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_same(choice: object, value: object) -> bool:
    """Whether a choice is a value; 4 and 4.0 are the same, 1 and true are not."""
    return choice == value if _is_number(choice) and _is_number(value) else repr(choice) == repr(value)


def _is_within(space: SearchSpace, value: float) -> bool:
    assert space.low is not None  # noqa: S101  # as its validator says
    assert space.high is not None  # noqa: S101
    steps = 0.0 if space.step is None else (value - space.low) / space.step
    return space.low <= value <= space.high and abs(steps - round(steps)) < _LEAST_STEPS
