"""Contrastive representation distillation (CRD): student and teacher representations of a sample form the positive pair.

Tian, Krishnan & Isola 2020, "Contrastive Representation Distillation", arXiv:1910.10699.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from compress.core.errors import TrainingError
from compress.core.frozen_model import FrozenModel
from compress.core.language import gettext
from compress.distill.losses.features import mean_over_pairs
from compress.tasks.capability import Capability
from compress.train.loss_term import FeatureKind, LayerSelection, LossInputs, LossTerm, MatchedLayers, Need

if TYPE_CHECKING:
    from torch import Tensor, nn


def contrastive(g_s: Tensor, g_t: Tensor, y: Tensor, *, tau: float) -> Tensor:
    """Noise-contrastive loss within a batch: equation 18 of the paper with in-batch negatives.

        h_ij = exp(⟨g_s,i, g_t,j⟩ / τ) / ( exp(⟨g_s,i, g_t,j⟩ / τ) + M_i )
        L_i = −log h_ii − Σ_{j ∈ negatives(i)} log(1 − h_ij)

    negatives(i) are the samples of other classes in the batch, and M_i is their number. (`crd_memory` implements the paper's
    form, which draws thousands of negatives from a memory bank and divides M by the size of the data set.)

    Args:
        g_s: Student vectors of unit L2 norm, (N, d).
        g_t: Teacher vectors of unit L2 norm, (N, d).
        y: Classes, int64 (N,); each sample without a label (negative) is a class of its own.
        tau: Temperature τ, above 0.

    Returns:
        Loss of each sample, (N,), at least 0.
    """
    import torch

    same_class = y.unsqueeze(0) == y.unsqueeze(1)
    same_class &= (y >= 0).unsqueeze(0) | torch.eye(len(y), dtype=torch.bool, device=y.device)
    negatives = ~same_class
    m = negatives.sum(dim=1).clamp(min=1)
    scores = g_s @ g_t.T / tau - m.log().unsqueeze(1)
    positive_loss = torch.nn.functional.softplus(-scores.diagonal())  # −log h_ii
    negative_loss = (torch.nn.functional.softplus(scores) * negatives).sum(dim=1)
    return positive_loss + negative_loss


class MemorySettings(FrozenModel):
    """`memory:` of a contrastive loss: a memory bank of all training samples, 8 · width bytes per sample.

    Attributes:
        negatives: Number of samples drawn for each batch.
        momentum: Weight of the stored vector in its update.
    """

    negatives: int = Field(default=4096, ge=1, le=1_000_000)
    momentum: float = Field(default=0.5, ge=0.0, lt=1.0)


class Contrastive(LossTerm):
    """`contrastive:` in a recipe. Learned linear projections embed student and teacher features in a common space.

    Attributes:
        temperature: τ above.
        width: Dimension of the embedding.
        layers: Layers whose outputs are compared as vectors; `auto` takes the inputs of the heads.
        memory: Source of the negatives: None takes the other samples of the batch, `{negatives: 4096}` draws that many from a
            memory bank of all training samples, as in the paper.
    """

    temperature: float = Field(default=0.07, gt=0.0)
    width: int = Field(default=128, ge=2)
    layers: LayerSelection = "auto"
    memory: MemorySettings | None = None
    needs: ClassVar[tuple[Need, ...]] = ("features",)
    feature_kind: ClassVar[FeatureKind | None] = "vector"
    uses_labels: ClassVar[bool] = True
    requires: ClassVar[tuple[Capability, ...]] = ("class_targets",)

    @property
    def needs_unmixed(self) -> bool:
        """Whether images must be unmixed: a memory bank stores one vector per sample."""
        return self.memory is not None

    def prepare(self, matched: Sequence[MatchedLayers], samples: int) -> nn.Module | None:
        """The two projections of each pair, and its memory bank."""
        from torch import nn

        embeddings = []
        for layers in matched:
            student_size, teacher_size = math.prod(layers.student_shape), math.prod(layers.teacher_shape)
            embeddings.append(nn.ModuleList([nn.Linear(student_size, self.width), nn.Linear(teacher_size, self.width)]))
            if self.memory is not None:
                from compress.distill.losses.crd_memory import MemoryBank

                embeddings[-1].append(MemoryBank(samples, self.width, **self.memory.model_dump()))
        return nn.ModuleList(embeddings)

    def per_sample(self, inputs: LossInputs) -> Tensor:
        """See `contrastive`."""
        from torch import nn
        from torch.nn import functional as F

        values = []
        embeddings = inputs.modules if isinstance(inputs.modules, nn.ModuleList) else nn.ModuleList()
        for pair, embedding in zip(inputs.features, embeddings, strict=True):
            embed_student, embed_teacher, *memory = embedding.children()
            _check_width(pair.student, embed_student)
            g_s = F.normalize(embed_student(pair.student.flatten(1)), dim=1)
            g_t = F.normalize(embed_teacher(pair.teacher.flatten(1)), dim=1)
            if memory:
                values.append(memory[0](g_s, g_t, inputs.batch, self.temperature))
            else:
                values.append(contrastive(g_s, g_t, inputs.targets, tau=self.temperature))
        return mean_over_pairs(values)


def _check_width(features: Tensor, embed: nn.Module) -> None:
    """Refuse features whose size varies from batch to batch, as of tokens.

    Raises:
        TrainingError: Their size is not that of the first batch.
    """
    if features[0].numel() != getattr(embed, "in_features", 0):
        msg = gettext(
            "loss `contrastive` compares one vector per sample, and a layer returns tokens, whose number varies; name a layer "
            "that returns a vector, or use similarity"
        )
        raise TrainingError(msg)
