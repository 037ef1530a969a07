"""Relational distillation (RKD): distances between samples, and angles among three of them.

Park et al. 2019, "Relational Knowledge Distillation", arXiv:1904.05068.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from compress.distill.losses.features import mean_over_pairs
from compress.train.loss_term import FeatureKind, LayerSelection, LossInputs, LossTerm, Need

if TYPE_CHECKING:
    from torch import Tensor

SMALLEST = 1e-12


def distances(x: Tensor) -> Tensor:
    """Distances of all pairs of samples, divided by their mean over i ≠ j: ψ_ij = ‖x_i − x_j‖ / μ, (N, N).

    Args:
        x: Vectors, (N, D).
    """
    import torch

    squared = (x.unsqueeze(0) - x.unsqueeze(1)).square().sum(dim=2)
    other = ~torch.eye(len(x), dtype=torch.bool, device=x.device)
    length = squared.clamp(min=SMALLEST).sqrt() * other
    return length / (length.sum() / other.sum().clamp(min=1)).clamp(min=SMALLEST)


def angles(x: Tensor) -> Tensor:
    """Cosines at j of the triangles i, j, k: ψ_jik = ⟨e_ij, e_kj⟩ with e_ij = (x_i − x_j) / ‖x_i − x_j‖, (N, N, N).

    Args:
        x: Vectors, (N, D).
    """
    from torch.nn import functional as F

    e = F.normalize(x.unsqueeze(0) - x.unsqueeze(1), dim=2)
    return e @ e.transpose(1, 2)


def rkd_distance(x_s: Tensor, x_t: Tensor) -> Tensor:
    """Huber loss of distances: L = mean_ij ℓ(ψ_ij(x_s) − ψ_ij(x_t)), ℓ(d) = d²/2 for |d| ≤ 1, else |d| − ½.

    Args:
        x_s: Student vectors, (N, D); widths may differ.
        x_t: Teacher vectors, (N, D').

    Returns:
        Scalar, 0 where all distances agree up to a common factor.
    """
    from torch.nn import functional as F

    return F.smooth_l1_loss(distances(x_s), distances(x_t))


def rkd_angle(x_s: Tensor, x_t: Tensor) -> Tensor:
    """Huber loss of angles: L = mean_ijk ℓ(ψ_ijk(x_s) − ψ_ijk(x_t)).

    Args:
        x_s: Student vectors, (N, D); widths may differ. Memory grows with N³.
        x_t: Teacher vectors, (N, D').

    Returns:
        Scalar, 0 where all angles agree.
    """
    from torch.nn import functional as F

    return F.smooth_l1_loss(angles(x_s), angles(x_t))


class RkdDistance(LossTerm):
    """`rkd_distance:` in a recipe.

    Attributes:
        layers: Layers whose outputs are compared as vectors; `auto` takes the inputs of the heads.
    """

    layers: LayerSelection = "auto"
    needs: ClassVar[tuple[Need, ...]] = ("features",)
    feature_kind: ClassVar[FeatureKind | None] = "vector"

    def forward(self, inputs: LossInputs) -> Tensor:
        """See `rkd_distance`."""
        return mean_over_pairs([rkd_distance(pair.student.flatten(1), pair.teacher.flatten(1)) for pair in inputs.features])


class RkdAngle(LossTerm):
    """`rkd_angle:` in a recipe.

    Attributes:
        layers: Layers whose outputs are compared as vectors; `auto` takes the inputs of the heads.
    """

    layers: LayerSelection = "auto"
    needs: ClassVar[tuple[Need, ...]] = ("features",)
    feature_kind: ClassVar[FeatureKind | None] = "vector"

    def forward(self, inputs: LossInputs) -> Tensor:
        """See `rkd_angle`."""
        return mean_over_pairs([rkd_angle(pair.student.flatten(1), pair.teacher.flatten(1)) for pair in inputs.features])
