"""Inputs of a training, the checks before it, and its fingerprint."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property

from torch import nn

from compress.core.errors import TrainingError
from compress.core.language import gettext
from compress.core.registry_field import name_of
from compress.data.interface import Data
from compress.tasks.base import Task
from compress.train.checkpoints import network_hash
from compress.train.curriculum.settings import Curriculum
from compress.train.loss_term import LossTerm
from compress.train.settings import Training
from compress.train.teachers.base import Teacher


@dataclass(frozen=True, eq=False)
class TrainingPlan:
    """Everything that the result of a training depends on besides the network.

    Attributes:
        training: Settings.
        data: Splits; `train` for training, `validation` for the selection of weights.
        task: Loss and metrics.
        terms: Loss terms, whose weighted sum is the loss.
        seed: Seed of the order of the samples and of dropout, not of the initial weights.
        teacher: Teacher; None if no term needs one.
        curriculum: Changes to images, sample weights and temperature.
    """

    training: Training
    data: Data
    task: Task
    terms: tuple[LossTerm, ...]
    seed: int
    teacher: Teacher | None = None
    curriculum: Curriculum = Curriculum()  # noqa: RUF009 - frozen

    @cached_property
    def active_terms(self) -> tuple[LossTerm, ...]:
        """The terms with a weight above 0."""
        return tuple(term for term in self.terms if term.weight > 0)

    def validate(self) -> None:
        """Check that the training is possible, before any work.

        Raises:
            TrainingError: There is no batch or no term with a weight above 0, or a term needs a teacher and there is none.
        """
        if self.data.train.batches(self.training.batch_size) < 1:
            msg = gettext(
                "the training split has {count} samples, and a batch needs at least 2; use more data",
                count=len(self.data.train),
            )
            raise TrainingError(msg)
        with_teacher = [name_of("loss", term) for term in self.active_terms if term.needs]
        if with_teacher and self.teacher is None:
            msg = gettext(
                "loss {with_teacher!r} needs a teacher and there is none; add `teacher:` to the recipe or use only `task`",
                with_teacher=with_teacher[0],
            )
            raise TrainingError(msg)
        if not self.active_terms:
            msg = gettext(
                "none of the {count} loss terms has a weight above 0; set the weight of at least one", count=len(self.terms)
            )
            raise TrainingError(msg)

    def fingerprint(self, module: nn.Module) -> str:
        """Hex SHA-256 of everything that the result of training this network depends on."""
        parts = {
            "settings": self.training.model_dump(mode="json", include=set(Training.model_fields) - {"tracker"}),
            "terms": [{name_of("loss", term): term.model_dump(mode="json")} for term in self.terms],
            "data": [self.data.train.fingerprint, self.data.validation.fingerprint],
            "task": self.task.key,
            "seed": self.seed,
            "teacher": None if self.teacher is None else self.teacher.key,
            "curriculum": self.curriculum.model_dump(mode="json"),
            "weights": network_hash(module),
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
