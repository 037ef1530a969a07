"""RDist: visual tokens of the student are similar to each other as those of the teacher are.

Cai et al. 2024, LLaVA-KD, arXiv:2410.16236, section 3.2, relation distillation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from compress.distill.losses.features import cosine_distance, mean_over_pairs
from compress.distill.losses.image_text.token_places import PLACES, visual_places
from compress.distill.losses.projectors import check_same_kind
from compress.train.loss_term import FeatureKind, LossInputs, LossTerm, MatchedLayers, Need

if TYPE_CHECKING:
    from torch import Tensor, nn

    from compress.tasks.capability import Capability


def relation_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """Distance of the self-correlation matrices of visual tokens.

        R = Y Yᵀ,   L_n = 1 − ⟨R^S, R^T⟩ / (‖R^S‖ ‖R^T‖)

    Args:
        student: Y of the student, (N, P, V).
        teacher: Y of the teacher, (N, P, V'), of as many visual tokens.

    Returns:
        Loss of each sample, (N,), from 0, for matrices of one direction, to 1, since ⟨R^S, R^T⟩ ≥ 0.
    """
    return cosine_distance(student @ student.transpose(1, 2), teacher @ teacher.transpose(1, 2))


class RDist(LossTerm):
    """`rdist:` in a recipe, of the logits at visual tokens, of which both networks have as many; vocabularies may differ."""

    layers: ClassVar[tuple[str, ...]] = (PLACES,)
    needs: ClassVar[tuple[Need, ...]] = ("features",)
    feature_kind: ClassVar[FeatureKind | None] = "maps"
    requires: ClassVar[tuple[Capability, ...]] = ("visual_tokens",)

    @property
    def trains_layers_only(self) -> bool:
        """The logits at visual tokens are no outputs, and the whole network computes them."""
        return False

    def prepare(self, matched: Sequence[MatchedLayers], samples: int) -> nn.Module | None:  # noqa: ARG002
        """Refuse networks of different numbers of visual tokens."""
        for layers in matched:
            check_same_kind(layers)
        return None

    def per_sample(self, inputs: LossInputs) -> Tensor:
        """See `relation_distance`; the mean over the teachers."""
        distances = [
            relation_distance(*(visual_places(each, inputs.batch) for each in (pair.student, pair.teacher)))
            for pair in inputs.features
        ]
        return mean_over_pairs(distances)
