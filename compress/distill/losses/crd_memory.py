"""Memory bank of CRD: one vector per training sample, from which more negatives are drawn than a batch contains.

Tian, Krishnan & Isola 2020, "Contrastive Representation Distillation", arXiv:1910.10699, section 3.2 and appendix.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from compress.core.environment import world_size
from compress.core.errors import TrainingError
from compress.core.language import gettext
from compress.data.batch import Batch

NO_CLASS = -1
"""Class of a sample that has no label, or that was in no batch yet."""


def nce_loss(
    g: Tensor, positive: Tensor, drawn: Tensor, excluded: Tensor, *, tau: float, log_z: Tensor, samples: int
) -> Tensor:
    """Noise-contrastive loss of one network against the memory bank of the other.

        h(g, v) = exp(⟨g, v⟩ / τ) / Z,   P_i = h / (h + m_i / n)
        L_i = −log P_i(v_i) − Σ_{j ∈ negatives(i)} log(1 − P_i(v_j))

    m_i is M, and n is N, of the paper. The paper draws negatives for each sample of a batch. Here a batch shares one draw,
    which needs d · m instead of d · m · N numbers, and negatives of i's class are excluded.

    Args:
        g: Vectors of one network, of unit L2 norm, (N, d).
        positive: v_i, stored vectors of the other network for the same samples, (N, d).
        drawn: v_j, stored vectors of the other network for the drawn samples, (m, d).
        excluded: Whether drawn sample j is no negative of sample i, bool (N, m).
        tau: Temperature τ, above 0.
        log_z: log Z, scalar.
        samples: n, number of training samples.

    Returns:
        Loss of each sample, (N,), at least 0.
    """
    m = (~excluded).sum(dim=1).clamp(min=1)
    noise = log_z + (m / samples).log()
    positive_loss = F.softplus(noise - (g * positive).sum(dim=1) / tau)
    negative_loss = F.softplus(g @ drawn.T / tau - noise.unsqueeze(1))
    return positive_loss + negative_loss.masked_fill(excluded, 0.0).sum(dim=1)


class MemoryBank(nn.Module):
    """Vectors of student and teacher for each training sample; buffers only, so checkpoints contain them.

    Initial coordinates are drawn from U(−1, 1) √(3 / d). After each batch v ← normalise(μ v + (1 − μ) g). The first batch
    sets Z of each network to n times the mean of exp(⟨g, v⟩ / τ); Z is constant afterwards.

    Args:
        samples: n, number of training samples.
        width: d, dimension of the vectors.
        negatives: m, number of samples drawn uniformly with replacement for each batch, from torch's global CPU generator.
        momentum: μ in [0, 1).
    """

    vectors: Tensor
    classes: Tensor
    log_z: Tensor

    def __init__(self, samples: int, width: int, *, negatives: int, momentum: float) -> None:
        super().__init__()
        self.samples, self.negatives, self.momentum = samples, negatives, momentum
        self.register_buffer("vectors", (torch.rand(2, samples, width) * 2 - 1) * math.sqrt(3 / width))
        self.register_buffer("classes", torch.full((samples,), NO_CLASS))
        self.register_buffer("log_z", torch.full((2,), math.nan))

    def forward(self, g_s: Tensor, g_t: Tensor, batch: Batch, tau: float) -> Tensor:
        """Loss of each sample of a batch, (N,), student against teacher plus teacher against student; then update the vectors.

        Args:
            g_s: Student vectors of unit L2 norm, (N, d).
            g_t: Teacher vectors of unit L2 norm, (N, d).
            batch: Indices and classes of the samples.
            tau: Temperature τ, above 0.

        Raises:
            TrainingError: The data source does not number its samples, or several processes train.
        """
        samples = self._samples(batch)
        classes = batch.target.clamp(min=NO_CLASS)
        drawn = torch.randint(self.samples, (self.negatives,)).to(g_s.device)
        same_class = (classes.unsqueeze(1) == self.classes[drawn]) & (classes >= 0).unsqueeze(1)
        excluded = same_class | (samples.unsqueeze(1) == drawn)
        losses = []
        for side, (g, memory) in enumerate(((g_s, self.vectors[1]), (g_t, self.vectors[0]))):
            log_z = self._log_z(side, g.detach(), memory[samples], memory[drawn], tau)
            losses.append(nce_loss(g, memory[samples], memory[drawn], excluded, tau=tau, log_z=log_z, samples=self.samples))
        self._update(samples, classes, torch.stack([g_s.detach(), g_t.detach()]))
        return losses[0] + losses[1]

    def _log_z(self, side: int, g: Tensor, positive: Tensor, drawn: Tensor, tau: float) -> Tensor:
        if bool(self.log_z[side].isnan()):
            scores = torch.cat([(g * positive).sum(dim=1, keepdim=True), g @ drawn.T], dim=1) / tau
            self.log_z[side] = scores.logsumexp(dim=(0, 1)) - math.log(scores.numel()) + math.log(self.samples)
        return self.log_z[side].clone()

    @torch.no_grad()
    def _update(self, samples: Tensor, classes: Tensor, g: Tensor) -> None:
        mixed = self.momentum * self.vectors[:, samples] + (1 - self.momentum) * g
        self.vectors[:, samples] = F.normalize(mixed, dim=2)
        self.classes[samples] = classes

    def _samples(self, batch: Batch) -> Tensor:
        if world_size() > 1:
            msg = gettext(
                "a `memory` works in one process only, this launch has {world_size}; run without accelerate launch",
                world_size=world_size(),
            )
            raise TrainingError(msg)
        samples = batch.samples
        if samples is None:
            msg = gettext("a `memory` needs numbered samples, and this data source does not number them; leave `memory` out")
            raise TrainingError(msg)
        return samples.to(self.vectors.device)
