"""`augment` of a stage: changed copies of the training texts. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from compress.core.fact import Fact
from compress.core.registry_field import RegistryField
from compress.core.stage import Context
from compress.data.text.augmentation.base import Resources, TextAugmentation
from compress.data.text.augmentation.fitting import FAMILY

if TYPE_CHECKING:
    from compress.data.batch import Split

Augmentations = tuple[Annotated[TextAugmentation, RegistryField(FAMILY, TextAugmentation)], ...]
"""Methods that each make copies of every training text."""


def with_copies(context: Context, methods: Sequence[TextAugmentation]) -> tuple[Context, tuple[Fact, ...]]:
    """The context with copies after the training texts, and facts about them; validation and test stay.

    Args:
        context: Of the stage; the copies are written into its folder.
        methods: Of augmentation; the context stays without any.

    Raises:
        CompressError: The training samples are no texts, or a method does not fit them.
    """
    if not methods:
        return context, ()
    train, facts = copies_of(context.data.train, context, methods)
    return replace(context, data=replace(context.data, train=train)), facts


def copies_of(split: Split, context: Context, methods: Sequence[TextAugmentation]) -> tuple[Split, tuple[Fact, ...]]:
    """A split of texts with copies; arguments and errors as for `with_copies`."""
    from compress.data.text.augmentation.augmented_split import augmented_split, origin_of
    from compress.data.text.split import TextSplit
    from compress.train.checkpoints import network_hash

    origin = origin_of(split, methods)
    assert isinstance(split, TextSplit)  # noqa: S101  # it has texts
    is_used = any(method.uses_teacher for method in methods)
    teacher = context.teachers[0].network() if context.teachers and is_used else None
    resources = Resources(origin.tokenizer, teacher, context.base)
    augmented, fact = augmented_split(
        split,
        methods,
        resources,
        seed=context.seed,
        folder=context.folder,
        teacher_hash=network_hash(teacher) if teacher is not None else "",
        others=(context.data.validation, context.data.test),
    )
    return augmented, (*resources.notes, fact)


def augmentation_hashes(methods: Sequence[TextAugmentation], base: Path) -> dict[str, object]:
    """Hashes of the files that copies depend on, for the key of a stage; empty without any."""
    hashes: list[Mapping[str, object]] = [method.file_hashes(base) for method in methods]
    return {"augment": hashes} if any(hashes) else {}


def smaller(methods: Augmentations) -> Augmentations:
    """The methods for a smoke run."""
    return tuple(method.smoke() for method in methods)
