"""Self-distillation exits: classifiers at earlier layers learn from the labels and from the student's own logits.

They are discarded after training.

Zhang et al. 2019, "Be Your Own Teacher", arXiv:1905.08094.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from compress.core.errors import ModelError
from compress.core.language import gettext
from compress.distill.losses.encoders.token_means import mean_token
from compress.distill.losses.features import mean_over_pairs
from compress.distill.losses.label_smoothing import label_smoothing
from compress.distill.losses.response import response
from compress.tasks.capability import Capability
from compress.train.loss_term import FeatureKind, LossInputs, LossTerm, MatchedLayers, PlainSelection

if TYPE_CHECKING:
    from torch import Tensor, nn


def exit_loss(z_b: Tensor, z: Tensor, y: Tensor, *, alpha: float, T: float | Tensor) -> Tensor:  # noqa: N803
    """Loss of one exit.

        L_n = (1 − α) (−log softmax(z_b)_y) + α T² KL(softmax(z / T) ‖ softmax(z_b / T))

    Args:
        z_b: Logits of the exit, (N, K).
        z: Logits of the whole network, (N, K), without gradient.
        y: Classes, int64 (N,); a sample without a label (negative) has only the second part.
        alpha: α in [0, 1].
        T: Temperature, above 0, a number or (N,).

    Returns:
        Loss of each sample, (N,).
    """
    return (1 - alpha) * label_smoothing(z_b, y, epsilon=0.0) + alpha * response(z_b, z, T=T)


class SelfDistillationExits(LossTerm):
    """`self_distillation_exits:` in a recipe. Needs no teacher.

    Attributes:
        alpha: α above.
        temperature: T above.
        layers: Layers with an exit; `auto` takes the last layer of each resolution, or each block, but for the last.
    """

    alpha: float = Field(default=0.3, ge=0.0, le=1.0)
    temperature: float = Field(default=3.0, gt=0.0)
    layers: PlainSelection = "auto"
    feature_kind: ClassVar[FeatureKind | None] = "maps"
    student_only: ClassVar[bool] = True
    uses_labels: ClassVar[bool] = True
    requires: ClassVar[tuple[Capability, ...]] = ("class_targets", "class_rows", "row_per_sample")

    def prepare(self, matched: Sequence[MatchedLayers], samples: int) -> nn.Module | None:  # noqa: ARG002
        """The exits: average over positions or tokens, then a linear map to the classes.

        Raises:
            ModelError: No layer for an exit.
        """
        from torch import nn

        if not matched:
            msg = gettext(
                "self-distillation exits need two layers or more whose outputs are maps or tokens; name layers with `layers:`"
            )
            raise ModelError(msg)
        widths = [layers.student_shape[0] if len(layers.student_shape) == 3 else layers.student_shape[-1] for layers in matched]
        return nn.ModuleList(nn.Linear(width, layers.teacher_shape[0]) for width, layers in zip(widths, matched, strict=True))

    def per_sample(self, inputs: LossInputs) -> Tensor:
        """See `exit_loss`."""
        from torch import nn

        T, z = inputs.temperature_or(self.temperature), inputs.student_logits.detach()  # noqa: N806
        exits = inputs.modules if isinstance(inputs.modules, nn.ModuleList) else nn.ModuleList()
        losses = []
        for classifier, pair in zip(exits, inputs.features, strict=True):
            f = pair.student
            f = f.mean(dim=(2, 3)) if f.ndim == 4 else mean_token(f, inputs.token_mask) if f.ndim == 3 else f
            losses.append(exit_loss(classifier(f), z, inputs.targets, alpha=self.alpha, T=T))
        return mean_over_pairs(losses)
