"""Combinations of a search space: a recipe with one value for each parameter.

Alternatives of whole entries are put first, so that parameters inside an entry that is not there are inactive; stages that are
left out are removed last, so that indices in key paths are those of the recipe as it is written.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType

from compress.config.key_path import KeyPath
from compress.config.overrides import put
from compress.config.pydantic_messages import types_at
from compress.config.search_settings import SearchSpace
from compress.config.yaml_nodes import UnreadableError

Tree = dict[str, object]
Suggest = Callable[[str, SearchSpace, KeyPath], object]
"""Gives the value of a parameter by its key, space and place in the recipe; `AS_WRITTEN` leaves that of the recipe."""
AS_WRITTEN = object()


@dataclass(frozen=True)
class Combination:
    """A recipe with a value for each active parameter.

    Attributes:
        tree: The recipe as plain values, without `search`.
        values: The values by key path.
        paths: Where each value is in the recipe.
        inactive: Parameters inside an entry that the combination does not have, each with the reason.
    """

    tree: Tree
    values: Mapping[str, object]
    paths: Mapping[str, KeyPath]
    inactive: Mapping[str, str]


def parts_of(key: str) -> list[str]:
    """The parts of a key path: `stages.prune.target.macs` → `["stages", "prune", "target", "macs"]`."""
    return [part.strip() for part in key.split(".")]


def in_order(space: Mapping[str, SearchSpace]) -> list[str]:
    """The parameters in the order in which they are put: outer ones before those inside them."""
    return sorted(space, key=lambda key: len(parts_of(key)))


def combine(
    tree: Tree, space: Mapping[str, SearchSpace], suggest: Suggest, fixed: Mapping[str, object] = MappingProxyType({})
) -> Combination:
    """Build a combination.

    Args:
        tree: The recipe as plain values.
        space: Space of each parameter by key path.
        suggest: Gives the value of each active parameter; of an optional stage, whether it is there.
        fixed: Further values by key path, which are put where the combination has their entry.
    """
    made = copy.deepcopy({key: value for key, value in tree.items() if key != "search"})
    values: dict[str, object] = {}
    paths: dict[str, KeyPath] = {}
    inactive: dict[str, str] = {}
    removed: list[KeyPath] = []
    for key in in_order(space):
        try:
            path = _find(made, key)
        except UnreadableError as error:
            inactive[key] = error.issue.message
            continue
        if any(path[: len(gone)] == gone for gone in removed):
            inactive[key] = ""
            continue
        value = suggest(key, space[key], path)
        if value is AS_WRITTEN:
            continue
        values[key], paths[key] = value, path
        if not space[key].optional:
            put(made, parts_of(key), copy.deepcopy(value))
        elif not value:
            removed.append(path[:2])
    for key, value in fixed.items():
        with suppress(UnreadableError):
            if _find(made, key)[:2] not in removed:
                put(made, parts_of(key), value)
    stages = made.get("stages")
    if removed and isinstance(stages, list):
        made["stages"] = [entry for index, entry in enumerate(stages) if ("stages", index) not in removed]
    return Combination(made, values, paths, inactive)


def takes_whole_numbers(model: type, path: KeyPath) -> bool:
    """Whether a model takes a whole number at a key path that is not also any number, as a count of epochs."""
    kinds = {alternative.annotation for alternative in types_at(model, path)}
    return float not in kinds


def _find(tree: Tree, key: str) -> KeyPath:
    """Where a key path leads in a tree, which stays as it is.

    Raises:
        UnreadableError: It leads nowhere.
    """
    return put(copy.deepcopy(tree), parts_of(key), None)
