"""Which methods fit which targets. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence

from compress.core.language import gettext
from compress.core.registry_field import name_of
from compress.data.text.augmentation.base import TextAugmentation
from compress.data.text.settings import Targets

FAMILY = "text_augmentation"


def misfit(methods: Sequence[TextAugmentation], targets: Targets) -> str | None:
    """Why copies cannot be made for these targets; None where they can.

    Args:
        methods: The methods.
        targets: Of the task.
    """
    if targets == "answers":
        return gettext(
            "augment would damage the answers, which are places in the texts; remove it, or give further questions as data"
        )
    if targets == "responses":
        return gettext("augment keeps the responses of changed prompts, which may no longer fit; remove it")
    if targets == "next":
        return gettext("augment changes single texts, and a causal language model reads blocks of many; remove it")
    if targets in ("scores", "matching"):
        return gettext("augment changes texts whose vectors are compared with those of others; remove it for this task")
    moving = [name_of(FAMILY, method) for method in methods if method.moves_words]
    if targets == "tags" and moving:
        return gettext(
            "{method} moves words away from their tags; use random_deletion or synonym_replacement, which leave tagged words "
            "as they are, or methods whose copies the teacher answers",
            method=moving[0],
        )
    return None


def unlabelled(methods: Sequence[TextAugmentation]) -> list[str]:
    """Names of the methods whose copies have no label."""
    return [name_of(FAMILY, method) for method in methods if not method.keeps_label]
