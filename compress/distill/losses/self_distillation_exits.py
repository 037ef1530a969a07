"""Branches: exits at earlier layers learn from the labels and from the student's own answer; they go after training.

Zhang et al. 2019, "Be Your Own Teacher", arXiv:1905.08094.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from compress.core.errors import ModelError
from compress.distill.losses.features import mean_over_pairs
from compress.distill.losses.label_smoothing import label_smoothing
from compress.distill.losses.response import response
from compress.train.loss_term import FeatureKind, LayerSelection, LossInputs, LossTerm, MatchedLayers

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
        T: Temperature, over 0, a number or (N,).

    Returns:
        Loss of each sample, (N,).
    """
    return (1 - alpha) * label_smoothing(z_b, y, epsilon=0.0) + alpha * response(z_b, z, T=T)


class SelfDistillationExits(LossTerm):
    """`self_distillation_exits:` in a recipe. Needs no teacher.

    Attributes:
        alpha: α above.
        temperature: T above.
        layers: Where the exits are; `auto` takes the last layer of each resolution, or each block, but for the last.
    """

    alpha: float = Field(default=0.3, ge=0.0, le=1.0)
    temperature: float = Field(default=3.0, gt=0.0)
    layers: LayerSelection = "auto"
    feature_kind: ClassVar[FeatureKind | None] = "maps"
    student_only: ClassVar[bool] = True
    uses_labels: ClassVar[bool] = True

    def prepare(self, joints: Sequence[MatchedLayers], samples: int) -> nn.Module | None:  # noqa: ARG002
        """The exits: the mean over places, then a linear map to the classes.

        Raises:
            ModelError: No layer to put one at.
        """
        from torch import nn

        if not joints:
            msg = "self-distillation exits need two layers or more that give maps or tokens; name layers with `layers:`"
            raise ModelError(msg)
        widths = [joint.student_shape[0] if len(joint.student_shape) == 3 else joint.student_shape[-1] for joint in joints]
        return nn.ModuleList(nn.Linear(width, joint.teacher_shape[0]) for width, joint in zip(widths, joints, strict=True))

    def per_sample(self, inputs: LossInputs) -> Tensor:
        """See `exit_loss`."""
        from torch import nn

        T, z = inputs.temperature_or(self.temperature), inputs.student_logits.detach()  # noqa: N806
        exits = inputs.modules if isinstance(inputs.modules, nn.ModuleList) else nn.ModuleList()
        losses = []
        for leave, pair in zip(exits, inputs.features, strict=True):
            f = pair.student
            f = f.mean(dim=(2, 3)) if f.ndim == 4 else f.mean(dim=1) if f.ndim == 3 else f
            losses.append(exit_loss(leave(f), z, inputs.batch.targets, alpha=self.alpha, T=T))
        return mean_over_pairs(losses)
