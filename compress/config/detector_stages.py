"""Check of losses on logits between a detector of two stages and one of one stage: they have no rows in common. Light."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from pydantic import BaseModel

from compress.config.key_path import KeyPath
from compress.config.pydantic_messages import Finding
from compress.core.language import gettext
from compress.core.registry_field import name_of
from compress.models.settings import split_source
from compress.train.loss_term import LossTerm

if TYPE_CHECKING:
    from compress.models.settings import ModelSettings

SOURCES = ("torchvision", "detector")
TWO_STAGES = ("fasterrcnn_", "small_two_stage")
"""Starts of the names of detectors of two stages, in these sources."""
ROWS = {1: "anchors", 2: "proposals"}
"""What logits are of, by the number of stages."""


def stages_of(settings: ModelSettings) -> int | None:
    """Number of stages of a detector, by its name; None where the source does not show it."""
    kind, name = split_source(settings.source)
    if kind not in SOURCES:
        return None
    return 2 if name.startswith(TWO_STAGES) else 1


def check_stages(
    student: ModelSettings, teacher: ModelSettings, blocks: Iterable[tuple[KeyPath, BaseModel]]
) -> Iterator[Finding]:
    """Losses on logits of a student and a teacher of which one has two stages and the other one.

    Args:
        student: The network.
        teacher: Its teacher.
        blocks: Settings of the stages, with their key paths.
    """
    counts = stages_of(student), stages_of(teacher)
    if set(counts) != {1, 2}:
        return
    for path, block in blocks:
        if isinstance(block, LossTerm) and block.weight > 0 and "teacher_logits" in block.needs:
            yield (
                path,
                gettext(
                    "loss {loss!r} compares logits, but the student has logits of {student} and the teacher has logits of "
                    "{teacher}: losses on maps fit, such as fgd, features and attention, and the loss of the task",
                    loss=name_of("loss", block),
                    student=gettext(ROWS[counts[0] or 1]),
                    teacher=gettext(ROWS[counts[1] or 1]),
                ),
            )
