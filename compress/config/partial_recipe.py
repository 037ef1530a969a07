"""Read the valid parts of a faulty recipe, so that all of its faults are reported at once."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from typing import Annotated, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from compress.config.cross_checks import PartialRecipe, StageEntry
from compress.config.key_path import KeyPath, child
from compress.config.tracking import Tracking
from compress.core.budget import Budget
from compress.core.errors import CompressError
from compress.core.registry import lookup, names
from compress.data.settings import DataSettings
from compress.models.settings import ModelSettings
from compress.tasks.base import Task
from compress.tasks.choice import TaskChoice, TaskField

Part = TypeVar("Part", bound=BaseModel)
DEFAULT_TASK = TaskChoice(name="classification")


def read_partially(tree: dict[str, object], faulty_paths: Iterable[KeyPath]) -> PartialRecipe:
    """Remove the faulty values and read each part independently.

    Args:
        tree: The recipe as plain values.
        faulty_paths: Key paths of faulty values.
    """
    valid = _without(tree, faulty_paths)
    teacher = valid.get("teacher")
    networks: list[tuple[KeyPath, object]] = [(("model",), valid.get("model"))]
    if isinstance(teacher, list):
        networks += [(("teacher", index), settings) for index, settings in enumerate(teacher)]
    else:
        networks.append((("teacher",), teacher))
    parsed = [(path, _try(ModelSettings, _network(value))) for path, value in networks]
    return PartialRecipe(
        data=_try(DataSettings, valid.get("data")),
        models=tuple((path, settings) for path, settings in parsed if settings is not None),
        has_teacher=tree.get("teacher") is not None,
        chain=tuple(_entries(tree.get("stages"), valid.get("stages"))),
        budget=_try(Budget, valid.get("budget")),
        task=_task(tree, valid),
        tracking=_try(Tracking, valid.get("tracking")),
    )


def _task(tree: dict[str, object], valid: dict[str, object]) -> Task | None:
    """The task; None where its name is faulty, so that nothing is held against another one."""
    if "task" not in valid:
        return None if "task" in tree else DEFAULT_TASK.make()
    adapter: TypeAdapter[TaskChoice] = TypeAdapter(Annotated[TaskChoice, TaskField()])
    try:
        return adapter.validate_python(valid["task"]).make()
    except (CompressError, ValidationError):
        return None


def _network(value: object) -> object:
    """Settings of a network, without the key that only teachers have."""
    return {key: setting for key, setting in value.items() if key != "train"} if isinstance(value, dict) else value


def _entries(stages: object, valid: object) -> Iterator[StageEntry]:
    """Stages of known names, with their parameters if they are valid without the faulty values."""
    for index, entry in enumerate(stages if isinstance(stages, list) else ()):
        named, left = _named(entry), _named(child(valid, index))
        for name in named if len(named) == 1 else ():
            if name in names("stage"):
                kind = lookup("stage", name).load()
                yield StageEntry(("stages", index, name), name, kind, _try(kind, left[name] or {}) if name in left else None)


def _named(entry: object) -> dict[str, object]:
    return {entry: None} if isinstance(entry, str) else entry if isinstance(entry, dict) else {}


def _try(kind: type[Part], value: object) -> Part | None:
    try:
        return kind.model_validate(value)
    except ValidationError:
        return None


def _without(tree: dict[str, object], paths: Iterable[KeyPath]) -> dict[str, object]:
    """A copy without the keys at `paths`; list entries are not removed, so that indices remain valid."""
    valid = copy.deepcopy(tree)
    for path in paths:
        node: object = valid
        for part in path[:-1]:
            node = child(node, part)
        if isinstance(node, dict) and path:
            node.pop(path[-1], None)
    return valid
