"""FSP: the student imitates the inner products between the outputs of consecutive layers of the teacher.

Yim et al. 2017, "A Gift from Knowledge Distillation: Fast Optimization, Network Minimization and Transfer Learning", CVPR 2017.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar

from compress.core.errors import ModelError
from compress.core.language import gettext
from compress.distill.losses.features import mean_over_pairs
from compress.distill.losses.projectors import build_projectors, project
from compress.train.loss_term import FeatureKind, LayerSelection, LossInputs, LossTerm, MatchedLayers, Need

if TYPE_CHECKING:
    from torch import Tensor, nn


def fsp_matrix(a: Tensor, b: Tensor) -> Tensor:
    """FSP matrix of two layers: G_ij = 1/(HW) Σ_hw a_i,hw b_j,hw, (N, C_a, C_b).

    Args:
        a: Maps of the earlier layer, (N, C_a, H, W), averaged to the resolution of the later layer where larger.
        b: Maps of the later layer, (N, C_b, h, w).
    """
    from torch.nn import functional as F

    if a.shape[2:] != b.shape[2:]:
        a = F.adaptive_avg_pool2d(a, (b.shape[2], b.shape[3]))
    return a.flatten(2) @ b.flatten(2).transpose(1, 2) / b[0, 0].numel()


def fsp_loss(a_s: Tensor, b_s: Tensor, a_t: Tensor, b_t: Tensor) -> Tensor:
    """Mean squared distance of the FSP matrices of student and teacher.

        L_n = mean_ij (G_s,ij − G_t,ij)²

    Args:
        a_s: Student, earlier layer, (N, C_a, H, W).
        b_s: Student, later layer, (N, C_b, h, w).
        a_t: Teacher, earlier layer, of the same width.
        b_t: Teacher, later layer, of the same width.

    Returns:
        Loss of each sample, (N,), 0 where both agree.
    """
    return (fsp_matrix(a_s, b_s) - fsp_matrix(a_t, b_t)).square().flatten(1).mean(dim=1)


class Fsp(LossTerm):
    """`fsp:` in a recipe: FSP matrices of each matched layer and the next; projectors are learned where widths differ.

    Attributes:
        layers: Names or indices of two layers or more, in order.
    """

    layers: LayerSelection = "auto"
    needs: ClassVar[tuple[Need, ...]] = ("features",)
    feature_kind: ClassVar[FeatureKind | None] = "maps"

    def prepare(self, matched: Sequence[MatchedLayers], samples: int) -> nn.Module | None:  # noqa: ARG002
        """Projectors.

        Raises:
            ModelError: Fewer than two layers of a teacher, or layers whose outputs are no maps.
        """
        for layers in matched:
            if len(layers.student_shape) != 3 or len(layers.teacher_shape) != 3:
                raise ModelError(
                    gettext("an FSP matrix needs layers whose outputs are maps (C, H, W), got {layers}", layers=layers)
                )
            if sum(other.teacher_index == layers.teacher_index for other in matched) < 2:
                raise ModelError(
                    gettext("an FSP matrix needs two layers or more, got only {layers}; name another", layers=layers)
                )
        return build_projectors(matched)

    def per_sample(self, inputs: LossInputs) -> Tensor:
        """See `fsp_loss`."""
        pairs = project(inputs)
        losses = [
            fsp_loss(a_s, b_s, a_t, b_t)
            for ((a_s, a_t), (b_s, b_t)), (first, second) in zip(pairwise(pairs), pairwise(inputs.features), strict=True)
            if first.teacher_index == second.teacher_index
        ]
        return mean_over_pairs(losses)
