"""Losses on attention: activation maps of convolutional networks, attention matrices of transformers.

Zagoruyko & Komodakis 2017, "Paying More Attention to Attention", arXiv:1612.03928; Jiao et al. 2020, "TinyBERT",
arXiv:1909.10351 (mean square); Wang et al. 2020, "MiniLM", arXiv:2002.10957 (divergence).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from compress.core.errors import ModelError
from compress.core.language import gettext
from compress.distill.losses.encoders.token_means import head_row_mean, pair_mean
from compress.distill.losses.features import mean_over_pairs
from compress.distill.losses.projectors import match_resolution
from compress.train.loss_term import FeatureKind, LayerSelection, LossInputs, LossTerm, MatchedLayers, Need

if TYPE_CHECKING:
    from torch import Tensor

SMALLEST = 1e-12
"""Lower bound of attention in the logarithm."""


def attention_transfer(f_s: Tensor, f_t: Tensor) -> Tensor:
    """Squared distance of the normalised activation maps.

        L_n = Σ_hw (q_s − q_t)²,   q = Q / ‖Q‖₂,   Q_hw = Σ_c f_c,hw²

    (The paper uses the distance without the square, which has no gradient where both agree.)

    Args:
        f_s: Student maps, (N, C, H, W); widths may differ.
        f_t: Teacher maps, (N, C', H, W).

    Returns:
        Loss of each sample, (N,), from 0 to 2.
    """
    from torch.nn import functional as F

    q_s, q_t = (F.normalize(f.square().sum(dim=1).flatten(1), dim=1) for f in (f_s, f_t))
    return (q_s - q_t).square().sum(dim=1)


def attention_divergence(a_s: Tensor, a_t: Tensor, mask: Tensor | None = None) -> Tensor:
    """KL divergence of attention: L_n = mean_hl KL(a_t,hl ‖ a_s,hl), over heads h and the rows l that are no padding.

    Args:
        a_s: Student's attention after the softmax, (N, heads, L, L); 0 for padding in each row.
        a_t: Teacher's.
        mask: Which tokens are no padding, bool (N, L), or None.

    Returns:
        Loss of each sample, (N,), 0 where both agree.
    """
    log_s, log_t = a_s.clamp(min=SMALLEST).log(), a_t.clamp(min=SMALLEST).log()
    return head_row_mean((a_t * (log_t - log_s)).sum(dim=-1), mask)


def attention_distance(a_s: Tensor, a_t: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean squared distance of attention: L_n = mean_hij (a_s,hij − a_t,hij)², over the i and j that are no padding.

    Arguments and result as for `attention_divergence`.
    """
    return pair_mean((a_s - a_t).square(), mask)


class AttentionTransfer(LossTerm):
    """`attention_transfer:` in a recipe, for convolutional networks.

    Attributes:
        layers: Names or indices of layers whose outputs are maps (C, H, W).
    """

    layers: LayerSelection = "auto"
    needs: ClassVar[tuple[Need, ...]] = ("features",)
    feature_kind: ClassVar[FeatureKind | None] = "maps"

    def prepare(self, matched: Sequence[MatchedLayers], samples: int) -> None:  # noqa: ARG002
        """Refuse layers whose outputs have no height and width."""
        for layers in matched:
            if len(layers.student_shape) != 3 or len(layers.teacher_shape) != 3:
                raise ModelError(
                    gettext(
                        "an activation map needs height and width, which {layers} lack; use attention_maps or hint",
                        layers=layers,
                    )
                )

    def per_sample(self, inputs: LossInputs) -> Tensor:
        """See `attention_transfer`."""
        pairs = [match_resolution(pair.student, pair.teacher) for pair in inputs.features]
        return mean_over_pairs([attention_transfer(f_s, f_t) for f_s, f_t in pairs])


class AttentionMaps(LossTerm):
    """`attention_maps:` in a recipe, for transformers. Where the numbers of heads differ, means over the heads are compared.

    With `layers: [-1]` it is MiniLM's L_AT; MiniLM adds `value_relation`.

    Attributes:
        distance: `kl`, or `mse`.
        layers: Which attention layers.
    """

    distance: Literal["kl", "mse"] = "kl"
    layers: LayerSelection = "auto"
    needs: ClassVar[tuple[Need, ...]] = ("features",)
    feature_kind: ClassVar[FeatureKind | None] = "attention"
    aligns_tokens: ClassVar[bool] = True

    def prepare(self, matched: Sequence[MatchedLayers], samples: int) -> None:  # noqa: ARG002
        """Refuse layers with different numbers of tokens."""
        for layers in matched:
            if layers.student_shape[1:] != layers.teacher_shape[1:]:
                raise ModelError(
                    gettext(
                        "attention over different numbers of tokens: {layers}; use networks with patches of one size",
                        layers=layers,
                    )
                )

    def per_sample(self, inputs: LossInputs) -> Tensor:
        """See `attention_divergence` and `attention_distance`."""
        compare = attention_divergence if self.distance == "kl" else attention_distance
        values = []
        for pair in inputs.features:
            a_s, a_t = pair.student, pair.teacher
            if a_s.shape[1] != a_t.shape[1]:
                a_s, a_t = a_s.mean(dim=1, keepdim=True), a_t.mean(dim=1, keepdim=True)
            values.append(compare(a_s, a_t, inputs.token_mask))
        return mean_over_pairs(values)
