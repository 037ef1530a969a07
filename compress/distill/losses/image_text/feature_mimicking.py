"""Feature mimicking: the student's vectors are those of the teacher.

Yang et al. 2024, CLIP-KD, arXiv:2307.12732, section 3.3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from compress.distill.losses.image_text.tower_vectors import equal_towers
from compress.train.loss_term import LossInputs, LossTerm, Need

if TYPE_CHECKING:
    from torch import Tensor

    from compress.tasks.capability import Capability


def feature_mimicking(student: tuple[Tensor, Tensor], teacher: tuple[Tensor, Tensor]) -> Tensor:
    """Squared distance of the vectors of both towers.

        L = mean_i ( ‖v^T_i − v^S_i‖² + ‖t^T_i − t^S_i‖² )

    The paper's weight of 2,000 is for the mean over D in place of the sum: with its D of 512 to 768 it is 3 to 4 here.

    Args:
        student: v and t of the student, of length 1, (N, D) each.
        teacher: v and t of the teacher, of length 1, (N, D) each.

    Returns:
        Scalar in [0, 8], 0 where the vectors are equal.
    """
    parts = [(own - other).square().sum(dim=1).mean() for own, other in zip(student, teacher, strict=True)]
    return parts[0] + parts[1]


class FeatureMimicking(LossTerm):
    """`feature_mimicking:` in a recipe; both networks have vectors of the same dimensions."""

    needs: ClassVar[tuple[Need, ...]] = ("teacher_logits",)
    requires: ClassVar[tuple[Capability, ...]] = ("paired_vectors",)
    any_width: ClassVar[bool] = True

    def forward(self, inputs: LossInputs) -> Tensor:
        """See `feature_mimicking`."""
        return feature_mimicking(*equal_towers(inputs, "feature_mimicking"))
