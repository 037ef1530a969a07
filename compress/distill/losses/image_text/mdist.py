"""MDist: the student's next-token distributions are those of the teacher, at places of the answer, the image and the question.

Cai et al. 2024, LLaVA-KD, arXiv:2410.16236, section 3.2, multimodal distillation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from compress.distill.losses.image_text.token_places import PLACES, split_places
from compress.distill.losses.projectors import check_equal_widths
from compress.distill.losses.token_divergence import forward_kl
from compress.train.loss_term import FeatureKind, LossInputs, LossTerm, MatchedLayers, Need

if TYPE_CHECKING:
    from torch import Tensor, nn

    from compress.tasks.capability import Capability


def mean_divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Mean divergence of next-token distributions.

        L = τ² mean_r KL(softmax(z^T_r / τ) ‖ softmax(z^S_r / τ))

    Args:
        student: Logits z^S, (R, V).
        teacher: Logits z^T, (R, V).
        temperature: τ.

    Returns:
        Scalar, at least 0, and 0 where the distributions are equal or R = 0.
    """
    if not len(student):
        return student.sum()
    log_p_s, log_p_t = ((each / temperature).log_softmax(dim=1) for each in (student, teacher))
    return temperature**2 * forward_kl(log_p_s, log_p_t).mean()


class MDist(LossTerm):
    """`mdist:` in a recipe: L = λ_r L_response + λ_v L_visual + λ_t L_text, each a `mean_divergence` over the places of a kind.

    Both networks have the same tokens, and the same number of visual tokens where λ_v > 0.

    Attributes:
        temperature: τ.
        response: λ_r, of places whose next token is one of the answer.
        visual: λ_v, of places of visual tokens.
        text: λ_t, of the other places of the text, those of the question.
    """

    temperature: float = Field(default=1.0, gt=0.0)
    response: float = Field(default=1.0, ge=0.0)
    visual: float = Field(default=1.0, ge=0.0)
    text: float = Field(default=0.0, ge=0.0)
    layers: ClassVar[tuple[str, ...]] = (PLACES,)
    needs: ClassVar[tuple[Need, ...]] = ("features",)
    feature_kind: ClassVar[FeatureKind | None] = "maps"
    requires: ClassVar[tuple[Capability, ...]] = ("visual_tokens",)
    aligns_tokens: ClassVar[bool] = True

    @property
    def trains_layers_only(self) -> bool:
        """The logits are the outputs of the network."""
        return False

    def prepare(self, matched: Sequence[MatchedLayers], samples: int) -> nn.Module | None:  # noqa: ARG002
        """Refuse networks of different vocabularies or visual tokens."""
        check_equal_widths(matched)
        return None

    def forward(self, inputs: LossInputs) -> Tensor:
        """Mean over the teachers."""
        import torch

        weights = (self.response, self.visual, self.text)
        losses = []
        for pair in inputs.features:
            student, teacher = (split_places(each, inputs.batch) for each in (pair.student, pair.teacher))
            divergences = [mean_divergence(s, t, self.temperature) for s, t in zip(student, teacher, strict=True)]
            losses.append(sum((w * each for w, each in zip(weights, divergences, strict=True)), pair.student.new_zeros(())))
        return torch.stack(losses).mean()
