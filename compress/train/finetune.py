"""Recovery: how a network that was just made smaller heals, by imitating a teacher or on hard labels alone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from torch import nn

from compress.core.errors import CompressError
from compress.core.registry import lookup
from compress.core.stage import Context
from compress.train.history import History
from compress.train.loop import fit
from compress.train.loss_term import LossTerm
from compress.train.settings import FinetuneSettings
from compress.train.teachers.cached_logits import CachedTeacher, weights_hash
from compress.train.teachers.combine_teachers import Combine


def finetune(
    module: nn.Module,
    recovery: FinetuneSettings,
    *,
    parent: nn.Module,
    context: Context,
    label: str,
    after_step: Callable[[], None] | None = None,
) -> History:
    """Train a compressed network in place until it has healed.

    Args:
        module: The compressed network.
        recovery: Settings; with 0 epochs nothing happens.
        parent: The network before compression, the teacher unless the settings name another.
        context: Data, task, teachers, folders, seed, device.
        label: Names its checkpoint; a stage that recovers several times gives each time its own.
        after_step: Called after each change of the weights, for example to put pruned weights back to zero.

    Returns:
        What `fit` tells; empty with 0 epochs.

    Raises:
        CompressError: The settings name the recipe's teacher and the recipe has none.
    """
    if recovery.epochs == 0:
        return History()
    terms = finetune_losses(recovery)
    return fit(
        module,
        recovery,
        data=context.data,
        task=context.task,
        terms=terms,
        seed=context.seed,
        folder=context.folder,
        label=label,
        teacher=cached_teacher_if_needed(_teachers(recovery, parent, context), terms, context, k=recovery.cache.k),
        device=context.device,
        reporter=context.reporter,
        after_step=after_step,
    )


def finetune_losses(recovery: FinetuneSettings) -> tuple[LossTerm, ...]:
    """The terms to minimise: those of the settings, or the task's loss where no teacher takes part."""
    hard_labels: LossTerm = lookup("loss", "task").load()()
    return (hard_labels,) if recovery.teacher == "none" else recovery.losses


def cached_teacher_if_needed(
    teachers: Sequence[nn.Module], terms: Sequence[LossTerm], context: Context, *, k: int | None = None
) -> CachedTeacher | None:
    """Answers of these teachers on the training split, kept in the shared cache; None when no term needs them."""
    return cached_teacher(teachers, context, k=k) if any(term.needs and term.weight > 0 for term in terms) else None


def cached_teacher(
    teachers: Sequence[nn.Module], context: Context, *, combine: Combine = "mean", k: int | None = None
) -> CachedTeacher:
    """Answers of these teachers on the training split, kept in the shared cache.

    Args:
        teachers: One network or more.
        context: Data, cache folder, device.
        combine: How several answers become one.
        k: Classes to keep; None for all.
    """
    key = hashlib.sha256("".join(weights_hash(teacher) for teacher in teachers).encode()).hexdigest()
    return CachedTeacher(
        teachers,
        context.data.train,
        key=key,
        cache=context.cache,
        device=context.device,
        reporter=context.reporter,
        combine=combine,
        k=k,
    )


def _teachers(recovery: FinetuneSettings, parent: nn.Module, context: Context) -> tuple[nn.Module, ...]:
    if recovery.teacher != "teacher":
        return (parent,)
    if not context.teachers:
        msg = "recover.teacher is 'teacher', but the recipe has no `teacher:`; add one, or use parent or none"
        raise CompressError(msg)
    return tuple(candidate.network() for candidate in context.teachers)
