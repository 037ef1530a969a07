"""Channel-wise distillation: where in the image each channel is active, of class logits or of feature maps.

Shu et al. 2021, "Channel-wise Knowledge Distillation for Dense Prediction", arXiv:2011.13256.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from compress.core.errors import ModelError
from compress.core.language import gettext
from compress.distill.losses.features import mean_over_pairs
from compress.distill.losses.projectors import build_projectors, project
from compress.train.loss_term import NETWORK_OUTPUT, FeatureKind, LayerSelection, LossInputs, LossTerm, MatchedLayers, Need

if TYPE_CHECKING:
    from torch import Tensor, nn

    from compress.tasks.capability import Capability


def channel_wise(f_s: Tensor, f_t: Tensor, *, T: float) -> Tensor:  # noqa: N803
    """Divergence of the distributions that each channel has over the positions of the image.

        L_n = T² / C · Σ_c Σ_i p_t,ci log(p_t,ci / p_s,ci),   p_ci = exp(f_ci / T) / Σ_j exp(f_cj / T)

    i and j run over the H·W positions: a channel's scale counts, an offset of the whole channel does not.

    Args:
        f_s: Student maps, (N, C, H, W).
        f_t: Teacher maps, of the same shape.
        T: Temperature, above 0; a larger T lets weaker positions count more.

    Returns:
        Loss of each sample, (N,), 0 where both agree.
    """
    log_s, log_t = ((f / T).flatten(2).log_softmax(dim=2) for f in (f_s, f_t))
    return T**2 * (log_t.exp() * (log_t - log_s)).sum(dim=2).mean(dim=1)


class ChannelWise(LossTerm):
    """`channel_wise:` in a recipe, for networks whose outputs or features are maps.

    Attributes:
        temperature: T above; 4 in the paper.
        layers: `[output]` compares the networks' outputs, the logits of each class; `auto`, or names or indices of layers,
            compares feature maps, the student's through a learned projector where widths differ. The paper's weights are 3 for
            logits and 50 for features.
    """

    temperature: float = Field(default=4.0, gt=0.0)
    layers: LayerSelection = (NETWORK_OUTPUT,)
    needs: ClassVar[tuple[Need, ...]] = ("features",)
    feature_kind: ClassVar[FeatureKind | None] = "maps"

    @property
    def requirements(self) -> Mapping[str, tuple[Capability, ...]]:
        """Outputs that are maps, where the outputs are compared."""
        return {"layers": ("map_outputs",)} if NETWORK_OUTPUT in self.layers else {}

    def prepare(self, matched: Sequence[MatchedLayers], samples: int) -> nn.Module | None:  # noqa: ARG002
        """Projectors; refuses layers whose outputs have no height and width."""
        for layers in matched:
            if len(layers.student_shape) != 3 or len(layers.teacher_shape) != 3:
                raise ModelError(
                    gettext("channels need height and width, which {layers} lack; use response or hint", layers=layers)
                )
        return build_projectors(matched)

    def per_sample(self, inputs: LossInputs) -> Tensor:
        """See `channel_wise`."""
        return mean_over_pairs([channel_wise(f_s, f_t, T=self.temperature) for f_s, f_t in project(inputs)])
