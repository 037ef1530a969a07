"""Contrastive distillation (CRD): of all samples of a batch, the student's vector should point to the teacher's of its own.

Tian, Krishnan & Isola 2020, "Contrastive Representation Distillation", arXiv:1910.10699.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from compress.distill.features import mean_of
from compress.train.terms import Answers, Joint, Layers, Need, Sight, Term

if TYPE_CHECKING:
    from torch import Tensor, nn


def contrastive(g_s: Tensor, g_t: Tensor, y: Tensor, *, tau: float) -> Tensor:
    """The critic's loss of the paper's equation 18, with the batch in place of a memory of the whole data set.

        h_ij = exp(⟨g_s,i, g_t,j⟩ / τ) / ( exp(⟨g_s,i, g_t,j⟩ / τ) + M_i )
        L_i = −log h_ii − Σ_{j ∈ negatives(i)} log(1 − h_ij)

    The negatives of i are samples of other classes, as many as M_i. (The paper draws thousands of them from a buffer, and
    divides M by the size of the data set; here M_i is the noise of the batch's own negatives.)

    Args:
        g_s: Student vectors of length 1, (N, d).
        g_t: Teacher vectors of length 1, (N, d).
        y: Classes, int64 (N,); of samples without a label (negative) each is a class of its own.
        tau: τ, over 0.

    Returns:
        Loss of each sample, (N,), at least 0.
    """
    import torch

    alike = y.unsqueeze(0) == y.unsqueeze(1)
    alike &= (y >= 0).unsqueeze(0) | torch.eye(len(y), dtype=torch.bool, device=y.device)
    others = ~alike
    m = others.sum(dim=1).clamp(min=1)
    scores = g_s @ g_t.T / tau - m.log().unsqueeze(1)
    right = torch.nn.functional.softplus(-scores.diagonal())
    wrong = (torch.nn.functional.softplus(scores) * others).sum(dim=1)
    return right + wrong


class Contrastive(Term):
    """`contrastive:` in a recipe. Student's and teacher's vectors go through learned linear maps into one space.

    Attributes:
        temperature: τ above.
        width: Dimensions of the common space.
        layers: Whose outputs, as vectors; `auto` takes what the heads are given.
    """

    temperature: float = Field(default=0.07, gt=0.0)
    width: int = Field(default=128, ge=2)
    layers: Layers = "auto"
    needs: ClassVar[tuple[Need, ...]] = ("features",)
    sees: ClassVar[Sight | None] = "vector"
    labelled: ClassVar[bool] = True

    def prepare(self, joints: Sequence[Joint]) -> nn.Module | None:
        """The two maps of each pair."""
        from torch import nn

        sizes = [(math.prod(joint.student_shape), math.prod(joint.teacher_shape)) for joint in joints]
        return nn.ModuleList(
            nn.ModuleList([nn.Linear(small, self.width), nn.Linear(large, self.width)]) for small, large in sizes
        )

    def each(self, answers: Answers) -> Tensor:
        """See `contrastive`."""
        from torch import nn
        from torch.nn import functional as F

        values = []
        maps = answers.learned if isinstance(answers.learned, nn.ModuleList) else nn.ModuleList()
        for pair, both in zip(answers.pairs, maps, strict=True):
            own, theirs = both.children()
            g_s, g_t = F.normalize(own(pair.student.flatten(1)), dim=1), F.normalize(theirs(pair.teacher.flatten(1)), dim=1)
            values.append(contrastive(g_s, g_t, answers.batch.targets, tau=self.temperature))
        return mean_of(values)
