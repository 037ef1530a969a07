"""Whether data, task and stages of a plan fit together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from compress.config.key_path import format_path
from compress.config.task_requirements import check_task
from compress.core.errors import RecipeError, ValidationIssue
from compress.core.registry_field import name_of
from compress.core.stage import Stage

if TYPE_CHECKING:
    from compress.data.interface import Data
    from compress.tasks.base import Task


def data_for_task(data: Data, task: Task) -> Data:
    """The data with the task's outputs in their specification.

    Raises:
        DataError: They are for another task.
    """
    return replace(data, spec=task.complete_spec(data.spec))


def check_requirements(name: str, task: Task, data: Data, stages: Sequence[Stage]) -> None:
    """Check that the task has on these data what the stages need.

    Raises:
        RecipeError: It has not; every method that needs something else is listed.
    """
    blocks = [(("stages", index, name_of("stage", stage)), stage) for index, stage in enumerate(stages)]
    issues = [ValidationIssue(message, format_path(path)) for path, message in check_task(task, blocks, data.spec)]
    if issues:
        raise RecipeError(f"pipeline {name!r}", issues)


def check_targets(task: Task, data: Data) -> None:
    """Check that two validation samples have the task's targets.

    Raises:
        DataError: They have not.
    """
    task.check_batch(next(iter(data.validation.ordered(2))), data.spec)
