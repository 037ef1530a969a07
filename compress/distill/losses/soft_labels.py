"""Cross-entropy against soft labels: the teacher's probabilities replace the label.

Ba & Caruana 2014, "Do Deep Nets Really Need to be Deep?", arXiv:1312.6184, section 2.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from compress.distill.losses.response import log_softmax
from compress.tasks.capability import Capability
from compress.train.loss_term import LossInputs, LossTerm, Need

if TYPE_CHECKING:
    from torch import Tensor


def soft_labels(z_s: Tensor, z_t: Tensor, *, T: float | Tensor) -> Tensor:  # noqa: N803
    """Cross-entropy with the teacher's softened probabilities: `response` plus the teacher's entropy, with the same gradient.

        L_n = −T² · Σ_k p_t log p_s,   p = softmax(z / T)

    Args:
        z_s: Student logits, (N, K).
        z_t: Teacher logits, (N, K).
        T: Temperature, above 0, a number or (N,).

    Returns:
        Loss of each sample, (N,); where both agree it is T² times the teacher's entropy and has no gradient.
    """
    return -(T**2) * (log_softmax(z_t, T).exp() * log_softmax(z_s, T)).sum(dim=1)


class SoftLabels(LossTerm):
    """`soft_labels:` in a recipe.

    Attributes:
        temperature: T above.
    """

    temperature: float = Field(default=1.0, gt=0.0)
    needs: ClassVar[tuple[Need, ...]] = ("teacher_logits",)
    requires: ClassVar[tuple[Capability, ...]] = ("class_rows",)

    def per_sample(self, inputs: LossInputs) -> Tensor:
        """See `soft_labels`."""
        return soft_labels(inputs.student_logits, inputs.require_teacher_logits(), T=inputs.temperature_or(self.temperature))
