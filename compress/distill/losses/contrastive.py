"""Contrastive distillation (CRD): of many samples, the student's vector should point to the teacher's of its own.

Tian, Krishnan & Isola 2020, "Contrastive Representation Distillation", arXiv:1910.10699.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from compress.core.frozen_model import FrozenModel
from compress.distill.losses.features import mean_over_pairs
from compress.train.loss_term import FeatureKind, LayerSelection, LossInputs, LossTerm, MatchedLayers, Need

if TYPE_CHECKING:
    from torch import Tensor, nn


def contrastive(g_s: Tensor, g_t: Tensor, y: Tensor, *, tau: float) -> Tensor:
    """The critic's loss of the paper's equation 18, with the batch in place of a memory of the whole data set.

        h_ij = exp(⟨g_s,i, g_t,j⟩ / τ) / ( exp(⟨g_s,i, g_t,j⟩ / τ) + M_i )
        L_i = −log h_ii − Σ_{j ∈ negatives(i)} log(1 − h_ij)

    The negatives of i are samples of other classes, as many as M_i. (`crd_memory` is the paper's own form, which
    draws thousands of them from a buffer and divides M by the size of the data set; here M_i counts the batch's negatives.)

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


class MemorySettings(FrozenModel):
    """`memory:` of a contrastive loss: vectors of all training samples, 8 · width bytes for each.

    Attributes:
        negatives: How many samples are drawn from it for each batch.
        momentum: Weight of what is remembered when a sample is seen again.
    """

    negatives: int = Field(default=4096, ge=1, le=1_000_000)
    momentum: float = Field(default=0.5, ge=0.0, lt=1.0)


class Contrastive(LossTerm):
    """`contrastive:` in a recipe. Student's and teacher's vectors go through learned linear maps into one space.

    Attributes:
        temperature: τ above.
        width: Dimensions of the common space.
        layers: Whose outputs, as vectors; `auto` takes what the heads are given.
        memory: Where the negatives come from: None takes the other samples of the batch, `{negatives: 4096}` draws as many from
            a memory of all training samples, as in the paper.
    """

    temperature: float = Field(default=0.07, gt=0.0)
    width: int = Field(default=128, ge=2)
    layers: LayerSelection = "auto"
    memory: MemorySettings | None = None
    needs: ClassVar[tuple[Need, ...]] = ("features",)
    feature_kind: ClassVar[FeatureKind | None] = "vector"
    uses_labels: ClassVar[bool] = True

    @property
    def needs_unmixed(self) -> bool:
        """A memory keeps vectors of samples as they are."""
        return self.memory is not None

    def prepare(self, matched: Sequence[MatchedLayers], samples: int) -> nn.Module | None:
        """The two maps of each pair, and its memory."""
        from torch import nn

        made = []
        for layers in matched:
            small, large = math.prod(layers.student_shape), math.prod(layers.teacher_shape)
            made.append(nn.ModuleList([nn.Linear(small, self.width), nn.Linear(large, self.width)]))
            if self.memory is not None:
                from compress.distill.losses.crd_memory import MemoryBank

                made[-1].append(MemoryBank(samples, self.width, **self.memory.model_dump()))
        return nn.ModuleList(made)

    def per_sample(self, inputs: LossInputs) -> Tensor:
        """See `contrastive`."""
        from torch import nn
        from torch.nn import functional as F

        values = []
        maps = inputs.modules if isinstance(inputs.modules, nn.ModuleList) else nn.ModuleList()
        for pair, both in zip(inputs.features, maps, strict=True):
            own, theirs, *memory = both.children()
            g_s, g_t = F.normalize(own(pair.student.flatten(1)), dim=1), F.normalize(theirs(pair.teacher.flatten(1)), dim=1)
            if memory:
                values.append(memory[0](g_s, g_t, inputs.batch, self.temperature))
            else:
                values.append(contrastive(g_s, g_t, inputs.batch.targets, tau=self.temperature))
        return mean_over_pairs(values)
