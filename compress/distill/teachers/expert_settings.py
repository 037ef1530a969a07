"""Configuration of teachers that use all experts of the recipe's teacher. Imports no torch.

Kim et al. 2025, "Every Expert Matters", arXiv:2502.12947.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from compress.core.errors import CompressError
from compress.core.language import gettext
from compress.core.stage import Candidate, Context
from compress.distill.teachers.settings import TeacherConfig, check_same_classes
from compress.tasks.capability import Capability
from compress.train.settings import Training

if TYPE_CHECKING:
    from torch import nn

    from compress.train.teachers.base import Teacher


class ExpertTeacher(TeacherConfig):
    """A teacher that is the recipe's, with another choice of experts."""

    uses_recipe_teacher: ClassVar[bool] = True
    requires: ClassVar[tuple[Capability, ...]] = ("class_rows",)

    def network(self, candidate: Candidate, context: Context) -> nn.Module:
        """The recipe's teacher.

        Raises:
            CompressError: There is none, there are several, it has no experts, or it has another tokenizer or other classes.
        """
        from compress.models.text.experts import mixtures

        if len(context.teachers) != 1:
            msg = gettext("a teacher with experts is one network, and the recipe has {count}", count=len(context.teachers))
            raise CompressError(msg)
        teacher = context.teachers[0]
        check_same_classes(teacher.spec.classes, candidate.spec.classes, gettext("teacher {index}", index=0))
        if any(context.teacher_tokenizers):
            msg = gettext("a teacher with experts needs the tokenizer of the data, and this one has its own; use `teacher`")
            raise CompressError(msg)
        if not mixtures(teacher.network()):
            msg = gettext("the teacher has no experts, of Mixtral's shape; use `teacher`, or give `decoder:` args with experts")
            raise CompressError(msg)
        return teacher.network()


class KnowledgeAugmentation(ExpertTeacher):
    """`knowledge_augmentation`: several passes of the teacher with sampled experts; the losses are averaged over the passes.

    In each pass every layer draws as many experts for a token as the router otherwise chooses, without replacement, with the
    router's probabilities, and their weights are these probabilities, scaled to a sum of 1.

    Attributes:
        passes: Number of passes.
    """

    passes: int = Field(default=2, ge=1, le=16)

    def build(self, candidate: Candidate, context: Context, training: Training, k: int | None) -> Teacher:  # noqa: ARG002
        """See `SampledExperts`."""
        from compress.distill.teachers.expert_teachers import SampledExperts

        return SampledExperts(self.network(candidate, context), context.task, self.passes)


class StudentAwareRouter(ExpertTeacher):
    """`student_aware_router`: all experts of the teacher compute every token, and its router is trained for the student.

    Attributes:
        lr: Learning rate of the router, by Adam.
        task_weight: γ, weight of the loss on the tokens of the data, which keeps the teacher from following the student alone.
    """

    lr: float = Field(default=1e-3, gt=0.0)
    task_weight: float = Field(default=1.0, ge=0.0)

    def build(self, candidate: Candidate, context: Context, training: Training, k: int | None) -> Teacher:  # noqa: ARG002
        """See `AllExperts`."""
        from compress.distill.teachers.expert_teachers import AllExperts

        return AllExperts(self.network(candidate, context), context.task, self.lr, self.task_weight)
