"""MiniLM's losses on relations of tokens inside the attention of a layer; widths of student and teacher may differ.

Wang et al. 2020, "MiniLM", arXiv:2002.10957 (value relation); Wang et al. 2021, "MiniLMv2", arXiv:2012.15828 (query, key and
value relations with a common number of relation heads).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from compress.core.errors import ModelError
from compress.core.language import gettext
from compress.distill.losses.encoders.token_means import head_row_mean
from compress.distill.losses.features import mean_over_pairs
from compress.train.loss_term import (
    FeatureKind,
    LossInputs,
    LossTerm,
    MatchedLayers,
    NamedLayers,
    Need,
)

if TYPE_CHECKING:
    from torch import Tensor

Part = Literal["query", "key", "value"]
PARTS: tuple[Part, ...] = ("query", "key", "value")
UnlearnedLayers = Literal["auto", "uniform", "first", "last", "searched"] | NamedLayers
"""As `LayerSelection` without `learned`: a mean of queries of several layers is no query."""


def log_relation(x: Tensor, heads: int, mask: Tensor | None) -> Tensor:
    """Logarithm of softmax(X_a X_aᵀ / √d) of each relation head a over the tokens j that are no padding, (N, heads, L, L).

    Args:
        x: Query, key or value, heads side by side, (N, L, heads · d).
        heads: Number of relation heads.
        mask: m, bool (N, L); None for no padding.
    """
    import torch

    by_head = x.reshape(*x.shape[:2], heads, -1).transpose(1, 2)
    scores = by_head @ by_head.transpose(2, 3) / by_head.shape[-1] ** 0.5
    if mask is not None:
        scores = scores.masked_fill(~mask[:, None, None, :], torch.finfo(scores.dtype).min)
    log_p: Tensor = scores.log_softmax(dim=-1)
    return log_p


def relation_divergence(x_s: Tensor, x_t: Tensor, *, heads: int, mask: Tensor | None = None) -> Tensor:
    """KL divergence of the relations of tokens.

        L_n = 1/(A |x_n|) Σ_a Σ_i m_ni KL(R_t,nai ‖ R_s,nai),   R_nai = softmax_j(⟨x_nai, x_naj⟩ / √d)

    j runs over the tokens that are no padding; A is the number of relation heads, d the width of one.

    Args:
        x_s: Student's query, key or value, (N, L, D); D is a multiple of A.
        x_t: Teacher's, (N, L, D'); D' is a multiple of A.
        heads: A.
        mask: m, bool (N, L); None for no padding.

    Returns:
        Loss of each sample, (N,), 0 where both agree.
    """
    log_s, log_t = (log_relation(x, heads, mask) for x in (x_s, x_t))
    terms = log_t.exp() * (log_t - log_s)
    if mask is not None:
        terms = terms.masked_fill(~mask[:, None, None, :], 0.0)
    return head_row_mean(terms.sum(dim=3), mask)


class Relations(LossTerm):
    """`relations:` in a recipe: MiniLMv2, the sum over the relations and the mean over the matched layers.

    Attributes:
        of: Which of query, key and value are compared with themselves.
        heads: Number of relation heads A, a divisor of both widths; None is the larger of the numbers of heads that divides
            both widths. More heads are finer; the paper takes 48 for widths of 768, 64 for 1024.
        layers: Which attention layers. The paper takes the student's last layer and one of the teacher's: the last of 12, the
            21st of 24, as in `[{student: -1, teacher: 20}]`.
    """

    of: Annotated[tuple[Part, ...], Field(min_length=1)] = PARTS
    heads: int | None = Field(default=None, ge=1)
    layers: UnlearnedLayers = (-1,)
    needs: ClassVar[tuple[Need, ...]] = ("features",)
    feature_kind: ClassVar[FeatureKind | None] = "relations"
    aligns_tokens: ClassVar[bool] = True

    def prepare(self, matched: Sequence[MatchedLayers], samples: int) -> None:  # noqa: ARG002
        """Check that the relation heads divide both widths.

        Raises:
            ModelError: They do not.
        """
        check_heads(matched, self.heads)

    def per_sample(self, inputs: LossInputs) -> Tensor:
        """See `relation_divergence`."""
        return _sum_over_parts(inputs, self.of, self.heads)


class ValueRelation(LossTerm):
    """`value_relation:` in a recipe: MiniLM's L_VR. With `attention_maps: {layers: [-1]}` it is the loss of MiniLM.

    Attributes:
        heads: As for `relations`.
        layers: Which attention layers; the last in the paper.
    """

    heads: int | None = Field(default=None, ge=1)
    layers: UnlearnedLayers = (-1,)
    needs: ClassVar[tuple[Need, ...]] = ("features",)
    feature_kind: ClassVar[FeatureKind | None] = "relations"
    aligns_tokens: ClassVar[bool] = True

    def prepare(self, matched: Sequence[MatchedLayers], samples: int) -> None:  # noqa: ARG002
        """See `Relations.prepare`."""
        check_heads(matched, self.heads)

    def per_sample(self, inputs: LossInputs) -> Tensor:
        """See `relation_divergence`."""
        return _sum_over_parts(inputs, ("value",), self.heads)


def check_heads(matched: Sequence[MatchedLayers], heads: int | None) -> None:
    """Check that the relation heads divide both widths.

    Raises:
        ModelError: They do not.
    """
    for layers in matched:
        _, small_heads, _, small_size = layers.student_shape
        _, large_heads, _, large_size = layers.teacher_shape
        relation_heads((small_heads, small_size), (large_heads, large_size), heads)


def _sum_over_parts(inputs: LossInputs, of: Sequence[Part], heads: int | None) -> Tensor:
    """Sum over query, key and value as named, mean over the matched layers, (N,)."""
    values = []
    for pair in inputs.features:
        s, t = pair.student, pair.teacher
        count = relation_heads((s.shape[2], s.shape[4]), (t.shape[2], t.shape[4]), heads)
        for part in of:
            x_s, x_t = (x[:, PARTS.index(part)].transpose(1, 2).flatten(2) for x in (s, t))
            values.append(relation_divergence(x_s, x_t, heads=count, mask=inputs.token_mask))
    return mean_over_pairs(values) * len(of)


def relation_heads(small: tuple[int, int], large: tuple[int, int], heads: int | None) -> int:
    """The number of relation heads.

    Args:
        small: Number and width of the student's heads.
        large: Number and width of the teacher's heads.
        heads: Number in the settings, or None.

    Raises:
        ModelError: It does not divide both widths.
    """
    widths = (small[0] * small[1], large[0] * large[1])
    common = gcd(*widths)
    if heads is None:
        return next((count for count in (max(small[0], large[0]), min(small[0], large[0])) if common % count == 0), 1)
    if common % heads:
        divisors = ", ".join(str(count) for count in range(1, common + 1) if common % count == 0)
        msg = gettext(
            "{heads} relation heads do not divide the widths {small} of the student and {large} of the teacher; heads that do: "
            "{divisors}",
            heads=heads,
            small=widths[0],
            large=widths[1],
            divisors=divisors,
        )
        raise ModelError(msg)
    return heads
