"""TinyBERT's loss on attention before the softmax.

Jiao et al. 2020, "TinyBERT", arXiv:1909.10351, equation 7. For attention after the softmax see `attention_maps`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from compress.core.errors import ModelError
from compress.core.language import gettext
from compress.distill.losses.encoders.token_means import pair_mean
from compress.distill.losses.features import mean_over_pairs
from compress.train.loss_term import FeatureKind, LayerSelection, LossInputs, LossTerm, MatchedLayers, Need

if TYPE_CHECKING:
    from torch import Tensor

LOWEST = -100.0
"""Scores at or below this are set to 0, as in the paper's code, where they mark masked tokens."""


def attention_scores(a_s: Tensor, a_t: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean squared distance of attention scores over heads and the pairs of tokens that are no padding.

        L_n = 1/(A |x_n|²) Σ_aij m_ni m_nj (c(a_s,naij) − c(a_t,naij))²,   c(a) = a if a > −100, else 0

    Args:
        a_s: Student's q kᵀ / √d before mask and softmax, (N, A, L, L).
        a_t: Teacher's.
        mask: m, bool (N, L); None for no padding.

    Returns:
        Loss of each sample, (N,), 0 where both agree.
    """
    c_s, c_t = (a.masked_fill(a <= LOWEST, 0.0) for a in (a_s, a_t))
    return pair_mean((c_s - c_t).square(), mask)


class AttentionScores(LossTerm):
    """`attention_scores:` in a recipe: TinyBERT's L_attn, the mean over the matched layers (the paper has the sum).

    Attributes:
        layers: Which attention layers.
        heads: What is compared where the numbers of heads differ: `equal` refuses, `mean` takes means over the heads.
    """

    layers: LayerSelection = "auto"
    heads: Literal["equal", "mean"] = "equal"
    needs: ClassVar[tuple[Need, ...]] = ("features",)
    feature_kind: ClassVar[FeatureKind | None] = "scores"
    aligns_tokens: ClassVar[bool] = True

    def prepare(self, matched: Sequence[MatchedLayers], samples: int) -> None:  # noqa: ARG002
        """Refuse different numbers of heads.

        Raises:
            ModelError: They differ, and `heads` is `equal`.
        """
        for layers in matched:
            small, large = layers.student_shape[0], layers.teacher_shape[0]
            if small != large and self.heads == "equal":
                msg = gettext(
                    "the student has {small} heads and the teacher {large} in {layers}; set heads: mean to compare means over "
                    "heads, or use `relations`, which needs no equal heads",
                    small=small,
                    large=large,
                    layers=layers,
                )
                raise ModelError(msg)

    def per_sample(self, inputs: LossInputs) -> Tensor:
        """See `attention_scores`."""
        values = []
        for pair in inputs.features:
            a_s, a_t = pair.student, pair.teacher
            if a_s.shape[1] != a_t.shape[1]:
                a_s, a_t = a_s.mean(dim=1, keepdim=True), a_t.mean(dim=1, keepdim=True)
            values.append(attention_scores(a_s, a_t, inputs.token_mask))
        return mean_over_pairs(values)
