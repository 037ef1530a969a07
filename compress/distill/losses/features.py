"""Losses on features, directly or through a projector: L2, FitNets hints, cosine.

Romero et al. 2015, "FitNets: Hints for Thin Deep Nets", arXiv:1412.6550.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from compress.distill.losses.encoders.token_means import fits_tokens, token_mean
from compress.distill.losses.projectors import build_projectors, check_equal_widths, project
from compress.train.loss_term import FeatureKind, LayerSelection, LossInputs, LossTerm, MatchedLayers, Need

if TYPE_CHECKING:
    from torch import Tensor, nn


def mean_squared_error(f_s: Tensor, f_t: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean squared distance of features.

        L_n = mean_i (f_s,i − f_t,i)²,   i over all of a sample's features, of tokens over those that are no padding

    Args:
        f_s: Student features, (N, …), projected where widths differ.
        f_t: Teacher features, of the same shape.
        mask: Which tokens (N, L, D) are no padding, bool (N, L), or None.

    Returns:
        Loss of each sample, (N,), 0 where both agree.
    """
    squares = (f_s - f_t).square()
    return token_mean(squares.mean(dim=2), mask) if fits_tokens(mask, squares) else squares.flatten(1).mean(dim=1)


def cosine_distance(f_s: Tensor, f_t: Tensor, mask: Tensor | None = None) -> Tensor:
    """One minus the cosine of the angle between features.

        L_n = 1 − ⟨f_s, f_t⟩ / (‖f_s‖ ‖f_t‖)

    Args:
        f_s: Student features, (N, …), projected where widths differ.
        f_t: Teacher features, of the same shape.
        mask: Which tokens (N, L, D) are no padding, bool (N, L), or None.

    Returns:
        Loss of each sample, (N,), from 0, for equal directions, to 2.
    """
    from torch.nn import functional as F

    if mask is not None and fits_tokens(mask, f_s):
        f_s, f_t = (f.masked_fill(~mask[:, :, None], 0.0) for f in (f_s, f_t))
    return 1 - F.cosine_similarity(f_s.flatten(1), f_t.flatten(1), dim=1)


def mean_over_pairs(values: Sequence[Tensor]) -> Tensor:
    """Mean over the matched pairs."""
    import torch

    return torch.stack(list(values)).mean(dim=0)


class Direct(LossTerm):
    """`direct:` in a recipe: L2 of features of equal width, without a projector.

    Attributes:
        layers: Names or indices of the layers.
    """

    layers: LayerSelection = "auto"
    needs: ClassVar[tuple[Need, ...]] = ("features",)
    feature_kind: ClassVar[FeatureKind | None] = "maps"
    aligns_tokens: ClassVar[bool] = True

    def prepare(self, matched: Sequence[MatchedLayers], samples: int) -> nn.Module | None:  # noqa: ARG002
        """Refuse layers of different width."""
        check_equal_widths(matched)
        return None

    def per_sample(self, inputs: LossInputs) -> Tensor:
        """See `mean_squared_error`."""
        return mean_over_pairs([mean_squared_error(f_s, f_t, inputs.mask_of(f_s)) for f_s, f_t in project(inputs)])


class Hint(LossTerm):
    """`hint:` in a recipe: L2 of features, the student's through a learned projector where widths differ.

    Attributes:
        layers: Names or indices of the layers.
    """

    layers: LayerSelection = "auto"
    needs: ClassVar[tuple[Need, ...]] = ("features",)
    feature_kind: ClassVar[FeatureKind | None] = "maps"
    aligns_tokens: ClassVar[bool] = True

    def prepare(self, matched: Sequence[MatchedLayers], samples: int) -> nn.Module | None:  # noqa: ARG002
        """Projectors."""
        return build_projectors(matched)

    def per_sample(self, inputs: LossInputs) -> Tensor:
        """See `mean_squared_error`."""
        return mean_over_pairs([mean_squared_error(f_s, f_t, inputs.mask_of(f_s)) for f_s, f_t in project(inputs)])


class Cosine(LossTerm):
    """`cosine:` in a recipe: the direction of features, the student's through a learned projector where widths differ.

    Attributes:
        layers: Names or indices of the layers.
    """

    layers: LayerSelection = "auto"
    needs: ClassVar[tuple[Need, ...]] = ("features",)
    feature_kind: ClassVar[FeatureKind | None] = "maps"
    aligns_tokens: ClassVar[bool] = True

    def prepare(self, matched: Sequence[MatchedLayers], samples: int) -> nn.Module | None:  # noqa: ARG002
        """Projectors."""
        return build_projectors(matched)

    def per_sample(self, inputs: LossInputs) -> Tensor:
        """See `cosine_distance`."""
        return mean_over_pairs([cosine_distance(f_s, f_t, inputs.mask_of(f_s)) for f_s, f_t in project(inputs)])


class Embedding(LossTerm):
    """`embedding:` in a recipe: L2 of the outputs of embedding layers (TinyBERT, Jiao et al. 2020, arXiv:1909.10351).

    Attributes:
        layers: Which layers; `auto` takes the embedding of patches, or of words with their positions and types.
    """

    layers: LayerSelection = "auto"
    needs: ClassVar[tuple[Need, ...]] = ("features",)
    feature_kind: ClassVar[FeatureKind | None] = "embedding"
    aligns_tokens: ClassVar[bool] = True

    def prepare(self, matched: Sequence[MatchedLayers], samples: int) -> nn.Module | None:  # noqa: ARG002
        """Projectors."""
        return build_projectors(matched)

    def per_sample(self, inputs: LossInputs) -> Tensor:
        """See `mean_squared_error`."""
        return mean_over_pairs([mean_squared_error(f_s, f_t, inputs.mask_of(f_s)) for f_s, f_t in project(inputs)])
