"""Checks before a training, and the fingerprint that distinguishes one training from another."""

from __future__ import annotations

import hashlib
import json

from torch import nn

from compress.core.errors import TrainingError
from compress.core.registry_field import name_of
from compress.data.interface import Data
from compress.tasks.base import Task
from compress.train.checkpoints import weights_hash
from compress.train.curriculum.settings import Curriculum
from compress.train.loss_term import LossTerm
from compress.train.settings import Training
from compress.train.teachers.base import Teacher


def validate(training: Training, data: Data, terms: tuple[LossTerm, ...], teacher: Teacher | None) -> None:
    """Check that a training is possible, before any work.

    Raises:
        TrainingError: No batch, no term with a weight over 0, or a term that needs a teacher and there is none.
    """
    if data.train.batches(training.batch_size) < 1:
        msg = f"nothing to train on: {len(data.train)} samples give no batch of 2 and more; use more data"
        raise TrainingError(msg)
    with_teacher = [name_of("loss", term) for term in terms if term.needs and term.weight > 0]
    if with_teacher and teacher is None:
        msg = f"loss {with_teacher[0]!r} needs a teacher and there is none; add `teacher:` to the recipe or use only `task`"
        raise TrainingError(msg)
    if not any(term.weight > 0 for term in terms):
        msg = f"nothing to minimise: {len(terms)} loss terms, none with a weight over 0"
        raise TrainingError(msg)


# One argument for each input of `fit` that the weights depend on.
def fingerprint(
    module: nn.Module,
    training: Training,
    data: Data,
    task: Task,
    terms: tuple[LossTerm, ...],
    seed: int,
    teacher: Teacher | None,
    curriculum: Curriculum,
) -> str:
    """Hex SHA-256 of everything that the result of a training depends on; the arguments are those of `fit`."""
    settings = training.model_dump(mode="json", include=set(Training.model_fields) - {"tracker"})
    parts = {
        "settings": settings,
        "terms": [{name_of("loss", term): term.model_dump(mode="json")} for term in terms],
        "data": [data.train.fingerprint, data.validation.fingerprint],
        "task": task.name,
        "seed": seed,
        "teacher": None if teacher is None else teacher.key,
        "curriculum": curriculum.model_dump(mode="json"),
        "weights": weights_hash(module),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
