"""Losses on the hidden states of transformer encoders.

Jiao et al. 2020, "TinyBERT", arXiv:1909.10351, equations 8 and 9; Sanh et al. 2019, "DistilBERT", arXiv:1910.01108 (cosine).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from compress.core.errors import ModelError
from compress.core.language import gettext
from compress.distill.losses.encoders.token_means import token_mean
from compress.distill.losses.features import mean_over_pairs
from compress.distill.losses.projectors import build_projectors, project
from compress.train.loss_term import FeatureKind, LayerSelection, LossInputs, LossTerm, MatchedLayers, Need

if TYPE_CHECKING:
    from torch import Tensor, nn


def hidden_states(h_s: Tensor, h_t: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean squared distance of hidden states over the tokens that are no padding.

        L_n = 1/(|x_n| D) Σ_i m_ni ‖h_s,ni − h_t,ni‖²

    Args:
        h_s: Student, H_S W, (N, L, D), projected where widths differ.
        h_t: Teacher, H_T, (N, L, D).
        mask: m, bool (N, L); None for no padding.

    Returns:
        Loss of each sample, (N,), 0 where both agree.
    """
    return token_mean((h_s - h_t).square().mean(dim=2), mask)


def hidden_cosine(h_s: Tensor, h_t: Tensor, mask: Tensor | None = None) -> Tensor:
    """One minus the cosine of hidden states, over the tokens that are no padding.

        L_n = 1/|x_n| Σ_i m_ni (1 − ⟨h_s,ni, h_t,ni⟩ / (‖h_s,ni‖ ‖h_t,ni‖))

    Args:
        h_s: Student, (N, L, D), projected where widths differ.
        h_t: Teacher, (N, L, D).
        mask: m, bool (N, L); None for no padding.

    Returns:
        Loss of each sample, (N,), from 0, for equal directions, to 2.
    """
    from torch.nn import functional as F

    return token_mean(1 - F.cosine_similarity(h_s, h_t, dim=2), mask)


class HiddenStates(LossTerm):
    """`hidden_states:` in a recipe: TinyBERT's L_hid and L_embd, the mean over the matched layers (the paper has the sum).

    Attributes:
        layers: Which hidden states, as transformers counts them: 0 is the embedding layer, m the m-th block. `auto` is
            `uniform`; the embedding layers are matched with each other.
        embeddings: Whether a rule matches the embedding layers (m = 0).
        projection: `shared`: one linear map W for all layers, as in the paper's code; `per_layer`: one for each. None is
            learned where widths are equal.
    """

    layers: LayerSelection = "auto"
    embeddings: bool = True
    projection: Literal["shared", "per_layer"] = "shared"
    needs: ClassVar[tuple[Need, ...]] = ("features",)
    feature_kind: ClassVar[FeatureKind | None] = "hidden"
    aligns_tokens: ClassVar[bool] = True

    @property
    def takes_embedding(self) -> bool:
        """See `embeddings`."""
        return self.embeddings

    def prepare(self, matched: Sequence[MatchedLayers], samples: int) -> nn.Module | None:  # noqa: ARG002
        """W, or a projector for each pair.

        Raises:
            ModelError: W is shared, and layers of a network differ in width; or layers do not return tokens.
        """
        from torch import nn

        refuse_other_than_tokens(matched)
        if self.projection == "per_layer":
            return build_projectors(matched)
        widths = {(layers.student_shape[-1], layers.teacher_shape[-1]) for layers in matched}
        if len(widths) > 1:
            listed = ", ".join(f"{small}→{large}" for small, large in sorted(widths))
            msg = gettext(
                "one map W for all layers needs layers of one width in each network, these are {widths}; set projection: "
                "per_layer, or embeddings: false",
                widths=listed,
            )
            raise ModelError(msg)
        small, large = widths.pop()
        shared = nn.Identity() if small == large else nn.Linear(small, large)
        return nn.ModuleList([shared] * len(matched))

    def per_sample(self, inputs: LossInputs) -> Tensor:
        """See `hidden_states`."""
        return mean_over_pairs([hidden_states(h_s, h_t, inputs.mask_of(h_s)) for h_s, h_t in project(inputs)])


class HiddenCosine(LossTerm):
    """`hidden_cosine:` in a recipe: DistilBERT's loss on the last hidden states, the student's projected where widths differ.

    Attributes:
        layers: Which hidden states, as for `hidden_states`.
    """

    layers: LayerSelection = (-1,)
    needs: ClassVar[tuple[Need, ...]] = ("features",)
    feature_kind: ClassVar[FeatureKind | None] = "hidden"
    aligns_tokens: ClassVar[bool] = True

    def prepare(self, matched: Sequence[MatchedLayers], samples: int) -> nn.Module | None:  # noqa: ARG002
        """Projectors."""
        refuse_other_than_tokens(matched)
        return build_projectors(matched)

    def per_sample(self, inputs: LossInputs) -> Tensor:
        """See `hidden_cosine`."""
        return mean_over_pairs([hidden_cosine(h_s, h_t, inputs.mask_of(h_s)) for h_s, h_t in project(inputs)])


def refuse_other_than_tokens(matched: Sequence[MatchedLayers]) -> None:
    """Refuse layers that do not return tokens.

    Raises:
        ModelError: There is one.
    """
    for layers in matched:
        if len(layers.student_shape) != 2 or len(layers.teacher_shape) != 2:
            raise ModelError(gettext("hidden states are tokens (L, D), and {layers} are not; use hint", layers=layers))
