"""Label smoothing as a separate term, with or without the hard labels.

Szegedy et al. 2016, "Rethinking the Inception Architecture for Computer Vision", arXiv:1512.00567, section 7.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from compress.tasks.capability import Capability
from compress.train.loss_term import LossInputs, LossTerm

if TYPE_CHECKING:
    from torch import Tensor


def label_smoothing(z: Tensor, y: Tensor, *, epsilon: float) -> Tensor:
    """Cross-entropy with smoothed labels.

        L_n = −Σ_k q_k log softmax(z)_k,   q = (1 − ε) onehot(y) + ε / K

    Args:
        z: Logits, (N, K).
        y: Classes, int64 (N,); a sample without a label (negative) has loss 0.
        epsilon: ε in [0, 1].

    Returns:
        Loss of each sample, (N,).
    """
    from torch.nn import functional as F

    labelled = y >= 0
    per_sample = F.cross_entropy(z, y.clamp(min=0), label_smoothing=epsilon, reduction="none")
    return per_sample.where(labelled, per_sample.new_zeros(()))


class LabelSmoothing(LossTerm):
    """`label_smoothing:` in a recipe.

    Attributes:
        epsilon: ε above.
    """

    epsilon: float = Field(default=0.1, ge=0.0, le=1.0)
    uses_labels: ClassVar[bool] = True
    requires: ClassVar[tuple[Capability, ...]] = ("class_rows",)

    def per_sample(self, inputs: LossInputs) -> Tensor:
        """See `label_smoothing`."""
        return label_smoothing(inputs.student_logits, inputs.targets, epsilon=self.epsilon)
