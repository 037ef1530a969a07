"""`generation:` of a stage `distill`: which texts a language model learns from, and how they are written. Imports no torch."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from compress.core.frozen_model import FrozenModel
from compress.core.language import gettext
from compress.core.registry_field import RegistryField
from compress.distill.rewards.base import TextReward

TextKind = Literal["data", "teacher", "student"]
"""Who wrote the responses of a batch."""


class Generation(FrozenModel):
    """Responses to the prompts of the training data that networks write, in place of those of the data.

    A batch has the student's texts, the teacher's, or those of the data, in fixed proportions:

        teacher: 1.0                  sequence-level distillation, Kim & Rush 2016, arXiv:1606.07947
        student: λ                    on-policy distillation, GKD, Agarwal et al. 2024, arXiv:2306.13649

    Attributes:
        student: λ, fraction of the batches with texts of the student as it is at that time.
        teacher: Fraction of the batches with texts of the teacher, which are written once, before the training.
        temperature: Of the sampling, apart from that of losses; 0 takes the likeliest token.
        top_p: Smallest probability of the likeliest tokens that are drawn from; 1 draws from all.
        top_k: Number of likeliest tokens that are drawn from; None draws from all.
        max_new_tokens: Longest response in tokens.
        teacher_share: α. Each token of the student's texts is drawn from α p_t + (1 − α) p_s, as in MiniLLM.
        window: Batches whose texts are written together; None is `accumulate`.
        reward: Reward of each text of the student, against the response of the data, such as `rouge_l`, or a function; for the
            loss `environment_reward`, and `reward_weight` of `minillm` and `llmr`. None for none.
        passes: How often a window is trained on before the next one is written; an epoch has as many more steps.
    """

    student: float = Field(default=0.0, ge=0.0, le=1.0)
    teacher: float = Field(default=0.0, ge=0.0, le=1.0)
    temperature: float = Field(default=1.0, ge=0.0)
    top_p: float = Field(default=1.0, gt=0.0, le=1.0)
    top_k: int | None = Field(default=None, ge=1)
    max_new_tokens: int = Field(default=128, ge=1)
    teacher_share: float = Field(default=0.0, ge=0.0, lt=1.0)
    window: int | None = Field(default=None, ge=1)
    reward: Annotated[TextReward, RegistryField("text_reward", TextReward)] | None = None
    passes: int = Field(default=1, ge=1, le=100)

    @model_validator(mode="after")
    def _has_shares(self) -> Self:
        if self.student + self.teacher == 0.0:
            msg = gettext(
                "generation: neither the student nor the teacher writes texts; set `student: 0.5` for on-policy distillation, "
                "or `teacher: 1.0` for sequence-level distillation"
            )
            raise ValueError(msg)
        if self.student + self.teacher > 1.0 + 1e-9:
            msg = gettext(
                "generation: student {student} and teacher {teacher} are fractions of the batches, and more than 1 together; "
                "lower one of them",
                student=self.student,
                teacher=self.teacher,
            )
            raise ValueError(msg)
        if self.teacher_share > 0 and self.student == 0.0:
            msg = gettext("generation: teacher_share is for texts of the student; set `student`, or leave it out")
            raise ValueError(msg)
        return self

    @property
    def kinds(self) -> tuple[TextKind, ...]:
        """The kinds of texts that occur."""
        shares: dict[TextKind, float] = {
            "data": 1.0 - self.student - self.teacher,
            "teacher": self.teacher,
            "student": self.student,
        }
        return tuple(kind for kind, share in shares.items() if share > 1e-9)

    @property
    def uses_teacher(self) -> bool:
        """Whether the teacher writes texts, or has a part in those of the student."""
        return self.teacher > 0.0 or self.teacher_share > 0.0

    def kind_of(self, batch: int) -> TextKind:
        """Who writes the texts of a batch, by its number from 0: of the first n batches the student writes ⌊n · λ⌋."""
        if _counted(batch + 1, self.student) > _counted(batch, self.student):
            return "student"
        others = batch - _counted(batch, self.student)
        share = self.teacher / (1.0 - self.student) if self.student < 1.0 else 0.0
        return "teacher" if _counted(others + 1, share) > _counted(others, share) else "data"

    def smoke(self) -> Self:
        """The same with short texts."""
        return self.model_copy(update={"max_new_tokens": min(self.max_new_tokens, 8)})


def _counted(batches: int, share: float) -> int:
    return int(batches * share + 1e-9)
