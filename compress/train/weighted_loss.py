"""The training loss: the weighted sum of the terms, modified by the curriculum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from compress.data.batch import Batch, Tensors
from compress.tasks.base import Rows, Task
from compress.train.curriculum.mixup import MixedBatch
from compress.train.curriculum.sample_weighting import entropy_temperature, sample_weights
from compress.train.curriculum.settings import Curriculum
from compress.train.features.hooks import Activations
from compress.train.features.matched_layers import FeatureMatcher
from compress.train.loss_term import LossInputs, LossTerm, MatchedFeatures
from compress.train.teachers.online import TeacherOutputs


class WeightedLoss:
    """Weighted sum of the loss terms.

    Args:
        terms: All terms with a weight above 0.
        matcher: Matched layers and trainable modules of the terms.
        task: Task, for the loss on hard labels.
        label_smoothing: Label smoothing of the loss of the task.
        curriculum: Sample weights, temperature, balancing of the terms.
    """

    def __init__(
        self, terms: Sequence[LossTerm], matcher: FeatureMatcher, task: Task, label_smoothing: float, curriculum: Curriculum
    ) -> None:
        self.terms, self.matcher, self.curriculum = tuple(terms), matcher, curriculum
        self.task, self.label_smoothing = task, label_smoothing

    def loss(
        self,
        batch: Batch,
        outputs: Tensors,
        rows: Rows,
        activations: Activations,
        teacher: TeacherOutputs,
        mixed: MixedBatch | None,
        progress: float,
    ) -> Tensor:
        """The loss of a batch, a scalar. While the teacher has no outputs, terms that need a teacher are skipped.

        Args:
            batch: Batch on the training device; for mixed images, with the labels of the first image of each pair.
            outputs: Named outputs of the student.
            rows: Distillable rows of these outputs.
            activations: Activations of the student at the hooked layers.
            teacher: Outputs of the teacher.
            mixed: The mix of the images; None without mixing.
            progress: Fraction of all steps done, in [0, 1).
        """
        inputs = LossInputs(
            batch,
            rows.logits,
            teacher.logits,
            self.task,
            self.label_smoothing,
            teacher_gradient=teacher.input_gradient,
            outputs=outputs,
            row_targets=rows.targets,
            shared_classes=teacher.shared,
        )
        inputs = self._with_curriculum(inputs, progress)
        values: dict[int, Tensor] = {}
        for index, term in enumerate(self.terms):
            if (term.needs and teacher.logits is None) or not term.applies_to(sampled=inputs.is_sampled):
                continue
            features = _without_padding(self.matcher.features(index, activations, teacher.activations), inputs)
            term_inputs = replace(inputs, features=features, modules=self.matcher.modules_of(index))
            values[index] = self._term_loss(term, term_inputs, mixed)
            if teacher.further and "teacher_logits" in term.needs:
                others = [replace(term_inputs, teacher_logits=logits) for logits in teacher.further]
                passes = [values[index], *(self._term_loss(term, each, mixed) for each in others)]
                values[index] = torch.stack(passes).mean()
        if "balance" in self.matcher.loss_modules:
            values = self.matcher.loss_modules["balance"](values)
        weighted = [self.terms[index].weight_at(progress) * value for index, value in values.items()]
        return torch.stack(weighted).sum() if weighted else rows.logits.sum() * 0.0

    def _with_curriculum(self, inputs: LossInputs, progress: float) -> LossInputs:
        """The same inputs with the curriculum's sample weights and temperature."""
        curriculum, loss_modules = self.curriculum, self.matcher.loss_modules
        weights = temperature = None
        if curriculum.mine is not None:
            weights = sample_weights(inputs.student_logits, inputs.teacher_logits, inputs.targets, curriculum.mine)
        if curriculum.temperature == "entropy" and inputs.teacher_logits is not None:
            temperature = entropy_temperature(inputs.teacher_logits, lowest=curriculum.lowest, highest=curriculum.highest)
        elif "temperature" in loss_modules:
            temperature = loss_modules["temperature"](progress).expand(len(inputs.student_logits))
        return replace(inputs, sample_weights=weights, temperature=temperature)

    def _term_loss(self, term: LossTerm, inputs: LossInputs, mixed: MixedBatch | None) -> Tensor:
        """Loss of a term; for mixed images λ L(y) + (1 − λ) L(y'), with the labels y and y' of both images."""
        loss = term.forward(inputs)
        if mixed is None or mixed.lam == 1.0 or not term.uses_labels:
            return loss
        partner = inputs.batch._replace(targets={name: target[mixed.partner] for name, target in inputs.batch.targets.items()})
        targets = self.task.distillable(inputs.outputs, partner.targets).targets
        return mixed.lam * loss + (1 - mixed.lam) * term.forward(replace(inputs, batch=partner, row_targets=targets))


def _without_padding(features: tuple[MatchedFeatures, ...], inputs: LossInputs) -> tuple[MatchedFeatures, ...]:
    """Features with zeros for padding where they are tokens (N, L, D): distances of whole samples then do not contain it."""

    def zeroed(tokens: Tensor) -> Tensor:
        mask = inputs.mask_of(tokens)
        is_masked = mask is not None and tokens.ndim == 3 and tokens.shape[:2] == mask.shape
        return tokens.masked_fill(~mask[:, :, None], 0.0) if mask is not None and is_masked else tokens

    return tuple(replace(pair, student=zeroed(pair.student), teacher=zeroed(pair.teacher)) for pair in features)
