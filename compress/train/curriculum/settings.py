"""Settings of the curriculum. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from compress.core.frozen_model import FrozenModel
from compress.core.language import gettext

if TYPE_CHECKING:
    from compress.tasks.capability import Capability


class Curriculum(FrozenModel):
    """Changes to the images, the sample weights, the temperature and the loss weights during training.

    Student and teacher receive the same mixed and erased images. Cached logits are those of unchanged images, so the teacher's
    networks run in every step. `mode: funmatch` of a distillation is a preset of such a curriculum.

    Attributes:
        mixup: α of λ ~ Beta(α, α), the weight of the first of two images; 0 for none (arXiv:1710.09412).
        cutmix: α of the fraction of the area that another image replaces; 0 for none (arXiv:1905.04899). If `mixup` is set,
            too, each batch uses one of them at random.
        erase: Probability that a box of an image is erased (arXiv:1708.04896).
        mine: Weight hard samples more, in losses that are means over samples. The measure of difficulty is `teacher_error`,
            `student_loss`, or the `disagreement` of the two; None for equal weights.
        temperature: `entropy`, higher where the teacher is confident; `learned`, adversarially (CTKD, Li et al. 2023,
            arXiv:2211.16231); None uses the temperatures of the losses.
        lowest: Lowest temperature of `entropy` and `learned`.
        highest: Highest temperature of `entropy` and `learned`.
        balance: A factor for each loss besides its weight: `uncertainty`, learned (Kendall et al. 2018, arXiv:1705.07115);
            `gradient_norm`, for gradients of equal norm, larger for losses that train slowly (GradNorm, Chen et al. 2018,
            arXiv:1711.02257); None for the weights only. The record contains the final factors.
        restoring: α of `gradient_norm`: how much larger the gradient of a loss that trains slowly is; 0 for equal norms.
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
            msg = gettext(
                "lowest temperature {lowest:g} must be below the highest, {highest:g}; change one of them",
                lowest=self.lowest,
                highest=self.highest,
            )
            raise ValueError(msg)
        return self

    @property
    def requirements(self) -> Mapping[str, tuple[Capability, ...]]:
        """Capabilities of the task that each field in use needs: rows of one class, images, or one class for each sample."""
        needed: dict[str, tuple[Capability, ...]] = {
            "mixup": ("continuous_input", "class_rows"),
            "cutmix": ("image_input", "class_targets"),
            "erase": ("image_input",),
            "mine": ("class_rows",),
            "temperature": ("class_rows",),
        }
        return {field: capabilities for field, capabilities in needed.items() if getattr(self, field)}

    @property
    def mixes(self) -> bool:
        """Whether it mixes or erases images."""
        return bool(self.mixup or self.cutmix or self.erase)
