"""Comparison of the capabilities that methods need with those of the task. Imports no torch.

A block of settings declares its needs as

    requires       a class attribute: capabilities that it always needs
    requirements   a property: capabilities by field, for the values that are in use; and if its value does not say it, what
                   each is for by `requirement_text(field)`
    unused         a property: fields without effect

and a method that is a function declares them by the option `requires` of its row in the registry.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel

from compress.config.key_path import KeyPath
from compress.config.pydantic_messages import Finding
from compress.core.language import gettext
from compress.core.registry import entries, lookup
from compress.core.registry_field import RegistryName
from compress.tasks.base import Task
from compress.tasks.capability import CAPABILITIES, Capability

if TYPE_CHECKING:
    from compress.core.network_spec import NetworkSpec

Block = TypeVar("Block", bound=BaseModel)
Needs = tuple[Capability, ...]


def check_task(task: Task, blocks: Iterable[tuple[KeyPath, BaseModel]], spec: NetworkSpec | None = None) -> Iterator[Finding]:
    """Methods whose requirements the task does not meet.

    Args:
        task: The task.
        blocks: Settings of stages, data and training, each with its key path.
        spec: Inputs of the network, if known; they may not allow all capabilities of the task.
    """
    has = task.capabilities if spec is None else task.capabilities_for(spec)
    listed = "" if spec is None else ", ".join(map(str, spec.signature.inputs))
    inputs = gettext(" with the input {listed}", listed=listed) if listed else ""
    for path, block in blocks:
        for place, method, needs, family in _requirements(path, block):
            missing = [CAPABILITIES[capability] for capability in needs if capability not in has]
            if missing:
                message = gettext(
                    "{method} needs {missing}, which the task {name}{inputs} does not have",
                    method=method,
                    missing=gettext(" and ").join(map(gettext, missing)),
                    name=task.name,
                    inputs=inputs,
                )
                yield place, message + _fitting(family, has)


def with_task_losses(block: Block, task: Task) -> Block:
    """The block, with squared error in place of KL divergence in default losses if the task has no logits of classes."""
    if "class_rows" in task.capabilities:
        return block
    changes: dict[str, object] = {}
    for field in type(block).model_fields:
        value = getattr(block, field)
        if field == "losses" and field not in block.model_fields_set:
            changes[field] = _losses_on_values()
        elif isinstance(value, BaseModel) and (changed := with_task_losses(value, task)) is not value:
            changes[field] = changed
    return block.model_copy(update=changes) if changes else block


def _losses_on_values() -> tuple[BaseModel, ...]:
    return (lookup("loss", "squared_error").load()(weight=0.7), lookup("loss", "task").load()(weight=0.3))


def _requirements(path: KeyPath, block: BaseModel) -> Iterator[tuple[KeyPath, str, Needs, str | None]]:
    """Requirements with key path, name of the method, capabilities, and the family of alternative methods."""
    for place, part in _parts(path, block):
        family, name = _entry_of(part)
        if needs := getattr(part, "requires", ()):
            yield place, f"{family or gettext('the method')} {name!r}", needs, family
        by_field: Mapping[str, Needs] = getattr(part, "requirements", {})
        unused = getattr(part, "unused", ())
        for field, needs in by_field.items():
            if field not in unused:
                told = part.requirement_text(field) if hasattr(part, "requirement_text") else None
                yield (*place, field), told or f"{field}: {getattr(part, field)}", needs, None
        for field, info in type(part).model_fields.items():
            for annotation in info.metadata:
                value = getattr(part, field)
                if isinstance(annotation, RegistryName) and value not in annotation.others:
                    needs = lookup(annotation.family, value).options.get("requires", ())
                    yield (*place, field), f"{annotation.family} {value!r}", needs, annotation.family


def _parts(path: KeyPath, value: object) -> Iterator[tuple[KeyPath, BaseModel]]:
    """A block and all blocks in it that have an effect, with their key paths."""
    if isinstance(value, BaseModel):
        if getattr(value, "weight", 1.0) == 0:
            return
        yield path, value
        unused = getattr(value, "unused", ())
        for field in type(value).model_fields:
            if field not in unused:
                yield from _parts((*path, field), getattr(value, field))
    elif isinstance(value, tuple):
        for index, member in enumerate(value):
            yield from _parts((*path, index), member)


def _entry_of(block: BaseModel) -> tuple[str | None, str]:
    """Family and name of the class of a block in the registry; no family and the class name if it is not registered."""
    target = f"{type(block).__module__}:{type(block).__name__}"
    return next(((row.family, row.name) for row in entries() if row.target == target), (None, type(block).__name__))


def _fitting(family: str | None, has: frozenset[Capability]) -> str:
    """Other methods of a family that the task allows."""
    if family in (None, "stage"):
        return ""
    rows = [row for row in entries(family) if has >= set(row.options.get("requires", ()))]
    fitting = [row.name for row in rows if has >= set(getattr(row.load(), "requires", ()))]
    return f"; fitting: {', '.join(fitting)}" if fitting else ""
