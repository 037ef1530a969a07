"""Fine-tuning of a compressed network, with a teacher or on hard labels."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from torch import nn

from compress.core.errors import CompressError
from compress.core.language import gettext
from compress.core.registry import lookup
from compress.core.stage import Context
from compress.train.checkpoints import network_hash
from compress.train.history import History
from compress.train.loop import fit
from compress.train.loss_term import LossTerm
from compress.train.plan import TrainingPlan
from compress.train.settings import FinetuneSettings
from compress.train.teachers.cached_logits import CachedTeacher
from compress.train.teachers.combine_teachers import CombineRule
from compress.train.teachers.logit_shards import LogitFolder

if TYPE_CHECKING:
    from compress.data.text.split import TextSplit
    from compress.data.text.tokenizer import TextTokenizer


def finetune(
    module: nn.Module,
    settings: FinetuneSettings,
    *,
    parent: nn.Module,
    context: Context,
    label: str,
    after_step: Callable[[], None] | None = None,
) -> History:
    """Train a compressed network in place.

    Args:
        module: The compressed network.
        settings: Settings; with 0 epochs the network is not trained.
        parent: The network before compression; it is the teacher unless the settings name another.
        context: Data, task, teachers, folders, seed, device.
        label: Prefix of the files; a stage that fine-tunes several times needs a different label each time.
        after_step: Called after each update of the weights, for example to set pruned weights to zero.

    Returns:
        Curves and the best epoch; empty with 0 epochs.

    Raises:
        CompressError: The settings name the teacher of the recipe, and the recipe has none.
    """
    if settings.epochs == 0:
        return History()
    terms = finetune_losses(settings)
    needs_teacher = any(term.needs and term.weight > 0 for term in terms)
    teachers = _teachers(settings, parent, context)
    tokenizers = context.teacher_tokenizers if settings.teacher == "teacher" else ()
    teacher = cached_teacher(teachers, context, k=settings.cache.k, tokenizers=tokenizers) if needs_teacher else None
    return fit(
        module,
        TrainingPlan(settings, context.data, context.task, terms, context.seed, teacher),
        folder=context.folder,
        label=label,
        device=context.device,
        reporter=context.reporter,
        after_step=after_step,
    )


def finetune_losses(settings: FinetuneSettings) -> tuple[LossTerm, ...]:
    """The loss terms: those of the settings, or without a teacher only the loss of the task."""
    hard_labels: LossTerm = lookup("loss", "task").load()()
    return (hard_labels,) if settings.teacher == "none" else settings.losses


def cached_teacher(
    teachers: Sequence[nn.Module],
    context: Context,
    *,
    combine: CombineRule = "mean",
    k: int | None = None,
    tokenizers: Sequence[TextTokenizer | None] = (),
) -> CachedTeacher:
    """A teacher for the training split, with logits in the shared cache.

    Args:
        teachers: One or more networks.
        context: Data, cache folder, device.
        combine: Rule that combines the logits of several networks.
        k: Number of classes to store for each sample; None for all.
        tokenizers: Tokenizer of each network, None for that of the data; empty for that of the data for all.
    """
    key = hashlib.sha256("".join(network_hash(teacher) for teacher in teachers).encode()).hexdigest()
    return CachedTeacher(
        teachers,
        context.data.train,
        context.task,
        key=key,
        cache=LogitFolder(context.cache, k),
        device=context.device,
        reporter=context.reporter,
        combine=combine,
        own=_in_own_tokens(context, tokenizers),
    )


def _in_own_tokens(context: Context, tokenizers: Sequence[TextTokenizer | None]) -> tuple[TextSplit | None, ...]:
    """The training texts in the tokens of each network with a tokenizer of its own."""
    if not any(tokenizers):
        return ()
    from compress.data.text.own_tokens import split_in_tokens

    return tuple(None if each is None else split_in_tokens(context.data.train, each) for each in tokenizers)


def _teachers(settings: FinetuneSettings, parent: nn.Module, context: Context) -> tuple[nn.Module, ...]:
    if settings.teacher != "teacher":
        return (parent,)
    if not context.teachers:
        msg = gettext("recover.teacher is 'teacher', but the recipe has no `teacher:`; add one, or use parent or none")
        raise CompressError(msg)
    return tuple(candidate.network() for candidate in context.teachers)
