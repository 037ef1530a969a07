"""Similarity-preserving distillation: the student preserves the pairwise similarities of samples.

Tung & Mori 2019, "Similarity-Preserving Knowledge Distillation", arXiv:1907.09682.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from compress.distill.losses.features import mean_over_pairs
from compress.train.loss_term import FeatureKind, LayerSelection, LossInputs, LossTerm, Need

if TYPE_CHECKING:
    from torch import Tensor


def similarity(f_s: Tensor, f_t: Tensor) -> Tensor:
    """Distance of the similarity matrices of a batch.

        L = ‖G_t − G_s‖²_F / N²,   G = rows of A Aᵀ, each divided by its L2 norm,   A = features as (N, D)

    Args:
        f_s: Student features, (N, …); widths may differ.
        f_t: Teacher features, (N, …).

    Returns:
        Scalar, 0 where both agree.
    """

    def gram(features: Tensor) -> Tensor:
        from torch.nn import functional as F

        a = features.flatten(1)
        return F.normalize(a @ a.T, dim=1)

    return (gram(f_t) - gram(f_s)).square().mean()


class Similarity(LossTerm):
    """`similarity:` in a recipe.

    Attributes:
        layers: Names or indices of the layers; their shapes may differ.
    """

    layers: LayerSelection = "auto"
    needs: ClassVar[tuple[Need, ...]] = ("features",)
    feature_kind: ClassVar[FeatureKind | None] = "maps"

    def forward(self, inputs: LossInputs) -> Tensor:
        """See `similarity`."""
        return mean_over_pairs([similarity(pair.student, pair.teacher) for pair in inputs.features])
