"""The sum to minimise: the terms, each with its factor, and what a curriculum does to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from compress.data.interface import Batch
from compress.tasks.base import Task
from compress.train.curriculum.mixup import Mix
from compress.train.curriculum.sample_weighting import entropy_temperature, importance
from compress.train.curriculum.settings import Curriculum
from compress.train.features.hooks import Seen
from compress.train.features.matched_layers import Sight
from compress.train.loss_term import Answers, LossTerm
from compress.train.teachers.online import Lesson


class Objective:
    """Weighted sum of the terms.

    Args:
        terms: All terms with a weight.
        sight: What they see; of the same terms.
        task: Loss of hard labels.
        label_smoothing: Of the task's loss.
        curriculum: Changes to weights and temperature.
    """

    def __init__(
        self, terms: Sequence[LossTerm], sight: Sight, task: Task, label_smoothing: float, curriculum: Curriculum
    ) -> None:
        self.terms, self.sight, self.curriculum = tuple(terms), sight, curriculum
        self.task, self.label_smoothing = task, label_smoothing

    def loss(self, batch: Batch, student: Tensor, own: Seen, taught: Lesson, mix: Mix | None, progress: float) -> Tensor:
        """Terms that need a teacher count nothing while it has no answers.

        Args:
            batch: On the device, with the labels of the first images of a mix.
            student: Student's outputs, (N, K).
            own: What was tapped in the student.
            taught: What the teacher gave.
            mix: How the images were put together; None for as they were.
            progress: Fraction of all steps done, in [0, 1).
        """
        answers = self._tempered(
            Answers(batch, student, taught.logits, self.task, self.label_smoothing, gradient=taught.gradient), progress
        )
        values: dict[int, Tensor] = {}
        for index, term in enumerate(self.terms):
            if term.needs and taught.logits is None:
                continue
            pairs = self.sight.pairs(index, own, taught.seen)
            values[index] = _value(term, replace(answers, pairs=pairs, learned=self.sight.learned_by(index)), mix)
        if "balance" in self.sight.learned:
            values = self.sight.learned["balance"](values)
        weighted = [self.terms[index].share(progress) * value for index, value in values.items()]
        return torch.stack(weighted).sum() if weighted else student.sum() * 0.0

    def _tempered(self, answers: Answers, progress: float) -> Answers:
        """Answers with the curriculum's temperature and weights of samples."""
        curriculum, learned = self.curriculum, self.sight.learned
        weights = temperature = None
        if curriculum.mine is not None:
            weights = importance(answers.student, answers.teacher, answers.batch.targets, curriculum.mine)
        if curriculum.temperature == "entropy" and answers.teacher is not None:
            temperature = entropy_temperature(answers.teacher, lowest=curriculum.lowest, highest=curriculum.highest)
        elif "temperature" in learned:
            temperature = learned["temperature"](progress).expand(len(answers.student))
        return replace(answers, importance=weights, temperature=temperature)


def _value(term: LossTerm, answers: Answers, mix: Mix | None) -> Tensor:
    """A term's loss; of mixed images the labels of both count by their share: λ L(y) + (1 − λ) L(y')."""
    value = term.value(answers)
    if mix is None or mix.share == 1.0 or not term.labelled:
        return value
    other = answers.batch._replace(targets=answers.batch.targets[mix.partner])
    return mix.share * value + (1 - mix.share) * term.value(replace(answers, batch=other))
