"""What can be read of a faulty recipe, so that its other faults are found in the same go."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from compress.config.cross_checks import PartialRecipe, StageEntry
from compress.config.yaml_lines import KeyPath, has_key
from compress.core.budget import Budget
from compress.core.registry import lookup, names
from compress.data.settings import DataSettings
from compress.models.settings import ModelSettings

Part = TypeVar("Part", bound=BaseModel)


def read_partially(tree: dict[str, Any], faulty: Iterable[KeyPath]) -> PartialRecipe:
    """Take the faulty values out and read each part by itself.

    Args:
        tree: The recipe as plain values.
        faulty: Places that are known to be wrong.
    """
    sound = _without(tree, faulty)
    teacher = sound.get("teacher")
    wanted: list[tuple[KeyPath, Any]] = [(("model",), sound.get("model"))]
    if isinstance(teacher, list):
        wanted += [(("teacher", index), each) for index, each in enumerate(teacher)]
    else:
        wanted.append((("teacher",), teacher))
    read = [(place, _try(ModelSettings, _network(value))) for place, value in wanted]
    return PartialRecipe(
        data=_try(DataSettings, sound.get("data")),
        models=tuple((place, settings) for place, settings in read if settings is not None),
        has_teacher=tree.get("teacher") is not None,
        chain=tuple(_entries(tree.get("stages"), sound.get("stages"))),
        budget=_try(Budget, sound.get("budget")),
    )


def _network(value: Any) -> Any:
    """The settings of a network without what only teachers have."""
    return {key: each for key, each in value.items() if key != "train"} if isinstance(value, dict) else value


def _entries(stages: Any, sound: Any) -> Iterator[StageEntry]:
    """The stages that are known by name; those that can be read even without their faulty values are."""
    for index, entry in enumerate(stages if isinstance(stages, list) and isinstance(sound, list) else ()):
        named, left = _named(entry), _named(sound[index])
        for name in named if len(named) == 1 else ():
            if name in names("stage"):
                kind = lookup("stage", name).load()
                yield StageEntry(("stages", index, name), name, kind, _try(kind, left[name] or {}) if name in left else None)


def _named(entry: Any) -> dict[str, Any]:
    return {entry: None} if isinstance(entry, str) else entry if isinstance(entry, dict) else {}


def _try(kind: type[Part], value: Any) -> Part | None:
    try:
        return kind.model_validate(value)
    except ValidationError:
        return None


def _without(tree: dict[str, Any], places: Iterable[KeyPath]) -> dict[str, Any]:
    """A copy without the keys at `places`; entries of lists stay, so that numbers keep their meaning."""
    sound = copy.deepcopy(tree)
    for place in places:
        node: Any = sound
        for part in place[:-1]:
            node = node[part] if has_key(node, part) else None
        if isinstance(node, dict) and place:
            node.pop(place[-1], None)
    return sound
