"""Checks of `augment` of stages: copies of texts need texts, targets that survive a change, and where used a teacher.

Imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from compress.config.key_path import KeyPath
from compress.config.pydantic_messages import Finding
from compress.config.text_data import targets_of
from compress.core.language import gettext
from compress.core.stage import Stage
from compress.data.settings import DataSettings
from compress.data.text.augmentation.base import TextAugmentation
from compress.data.text.augmentation.fitting import misfit
from compress.data.text.augmentation.replacement import no_teacher
from compress.tasks.base import Task


def check_augmentation(
    data: DataSettings | None, task: Task | None, stages: Sequence[tuple[KeyPath, Stage]], *, has_teacher: bool
) -> Iterator[Finding]:
    """Stages whose copies of texts cannot be made.

    Args:
        data: The `data:` block; None where it is not known.
        task: The task; None where it is not known.
        stages: Stages with their key paths.
        has_teacher: Whether the recipe has a teacher.
    """
    for path, stage in stages:
        methods: tuple[TextAugmentation, ...] = getattr(stage, "augment", ())
        own: DataSettings | None = getattr(stage, "data", None) or data
        if not methods:
            continue
        place = (*path, "augment")
        if own is not None and own.is_text is False:
            yield (
                place,
                gettext(
                    "augment of a stage changes texts, and {source} gives none; for images use data.augment", source=own.source
                ),
            )
        elif task is not None and (reason := misfit(methods, targets_of(task) or "classes")) is not None:
            yield place, reason
        for index, method in enumerate(methods):
            if method.uses_teacher and not has_teacher:
                yield (*place, index), no_teacher()
