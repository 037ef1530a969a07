"""What a training shows when, and how much each sample counts. Light: read and checked without torch."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from compress.core.record import FrozenModel


class Curriculum(FrozenModel):
    """Changes to batches, to the weights of samples and to the temperature, step by step.

    Mixed and erased images are seen identically by student and teacher, whose kept answers do not fit them: its networks then
    run at every step. A distillation's `mode: funmatch` sets a whole curriculum of that kind in one line.

    Attributes:
        mixup: α of the share λ ~ Beta(α, α) in which two images are added; 0 for none (arXiv:1710.09412).
        cutmix: α of the share of the area that another image's box takes; 0 for none (arXiv:1905.04899). With both given, each
            batch draws one of them.
        erase: Probability that a box of an image is blanked (arXiv:1708.04896).
        mine: Give hard samples more weight, in losses that are means over samples: `teacher_error`, `student_loss`, or
            `disagreement` of the two; None for all alike.
        temperature: `entropy`, softer where the teacher is sure; `learned`, adversarially (CTKD, Li et al. 2023,
            arXiv:2211.16231); None leaves the losses their own.
        lowest: Lowest temperature of these.
        highest: Highest temperature of these.
        balance: How much each loss counts, besides its own weight: `uncertainty`, learned (Kendall et al. 2018,
            arXiv:1705.07115); `gradient_norm`, so that the gradients of all are equally long but for those that fall behind
            (GradNorm, Chen et al. 2018, arXiv:1711.02257); None for the weights given. The record says what was found.
        restoring: α of `gradient_norm`: how strongly a loss that falls behind is favoured; 0 for not at all.
    """

    mixup: float = Field(default=0.0, ge=0.0)
    cutmix: float = Field(default=0.0, ge=0.0)
    erase: float = Field(default=0.0, ge=0.0, le=1.0)
    mine: Literal["teacher_error", "student_loss", "disagreement"] | None = None
    temperature: Literal["entropy", "learned"] | None = None
    lowest: float = Field(default=1.0, gt=0.0)
    highest: float = Field(default=8.0, gt=0.0)
    balance: Literal["uncertainty", "gradient_norm"] | None = None
    restoring: float = Field(default=1.5, ge=0.0, le=10.0)

    @model_validator(mode="after")
    def _temperatures_in_order(self) -> Self:
        if self.lowest >= self.highest:
            msg = f"lowest temperature {self.lowest:g} must be under the highest, {self.highest:g}"
            raise ValueError(msg)
        return self

    @property
    def mixes(self) -> bool:
        """Whether images are changed after they were drawn."""
        return bool(self.mixup or self.cutmix or self.erase)
