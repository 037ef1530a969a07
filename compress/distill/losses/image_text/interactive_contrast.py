"""Interactive contrastive learning: the student's vectors are contrasted with those of the teacher.

Yang et al. 2024, CLIP-KD, arXiv:2307.12732, section 3.5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from compress.distill.losses.image_text.tower_vectors import equal_towers
from compress.tasks.image_text.dual_encoder import same_pairs
from compress.train.loss_term import LossInputs, LossTerm, Need

if TYPE_CHECKING:
    from torch import Tensor

    from compress.tasks.capability import Capability


def interactive_contrast(
    student: tuple[Tensor, Tensor], teacher: tuple[Tensor, Tensor], same: Tensor, *, temperature: float
) -> Tensor:
    """Cross-entropy of finding the teacher's text for the student's image, and the teacher's image for the student's text.

        L = −½ mean_i [ log softmax_j(v^S_i·t^T_j / τ)_i + log softmax_j(t^S_i·v^T_j / τ)_i ]

    over j = i and all others that are no pair.

    Args:
        student: v and t of the student, of length 1, (N, D) each.
        teacher: v and t of the teacher, of length 1, (N, D) each.
        same: Whether image i and text j belong together as well, bool (N, N).
        temperature: τ.

    Returns:
        Scalar, at least 0.
    """
    import torch
    from torch.nn import functional as F

    own = torch.arange(len(same), device=same.device)
    further = same & ~torch.eye(len(same), dtype=torch.bool, device=same.device)
    image = (student[0] @ teacher[1].T / temperature).masked_fill(further, -torch.inf)
    text = (student[1] @ teacher[0].T / temperature).masked_fill(further, -torch.inf)
    return (F.cross_entropy(image, own) + F.cross_entropy(text, own)) / 2


class InteractiveContrast(LossTerm):
    """`interactive_contrast:` in a recipe; both networks have vectors of the same dimensions.

    Attributes:
        temperature: τ.
    """

    temperature: float = Field(default=0.07, gt=0.0)
    needs: ClassVar[tuple[Need, ...]] = ("teacher_logits",)
    requires: ClassVar[tuple[Capability, ...]] = ("paired_vectors",)
    any_width: ClassVar[bool] = True

    def forward(self, inputs: LossInputs) -> Tensor:
        """See `interactive_contrast`."""
        student, teacher = equal_towers(inputs, "interactive_contrast")
        return interactive_contrast(student, teacher, same_pairs(inputs.batch.targets), temperature=self.temperature)
