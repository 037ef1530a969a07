"""The memory of CRD: a vector of every training sample, from which many more negatives are drawn than a batch holds.

Tian, Krishnan & Isola 2020, "Contrastive Representation Distillation", arXiv:1910.10699, section 3.2 and appendix.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from compress.core.environment import world_size
from compress.core.errors import TrainingError
from compress.data.batch import Batch

UNSEEN = -1
"""Class of a sample that no batch has held yet, or that has no label."""


def nce_loss(own: Tensor, other: Tensor, others: Tensor, alike: Tensor, *, tau: float, log_z: Tensor, samples: int) -> Tensor:
    """Noise-contrastive loss of one network against the memory of the other.

        h(g, v) = exp(⟨g, v⟩ / τ) / Z,   P_i = h / (h + m_i / n)
        L_i = −log P_i(v_i) − Σ_{j ∈ negatives(i)} log(1 − P_i(v_j))

    M / N in the paper, with M = m_i negatives and N = n samples. The paper draws negatives for each sample of a batch; here the
    whole batch shares one draw, which needs d · m instead of d · m · N numbers, and negatives of i's class are left out.

    Args:
        own: g of one network, of length 1, (N, d).
        other: v_i, the memory of the other network's vector of the same samples, (N, d).
        others: v_j of the draw, (m, d).
        alike: Which of the draw are no negatives of which sample, bool (N, m).
        tau: τ, over 0.
        log_z: log Z, scalar.
        samples: n.

    Returns:
        Loss of each sample, (N,), at least 0.
    """
    m = (~alike).sum(dim=1).clamp(min=1)
    noise = log_z + (m / samples).log()
    right = F.softplus(noise - (own * other).sum(dim=1) / tau)
    wrong = F.softplus(own @ others.T / tau - noise.unsqueeze(1))
    return right + wrong.masked_fill(alike, 0.0).sum(dim=1)


class MemoryBank(nn.Module):
    """Vectors of student and teacher for each training sample; part of the checkpoints, without parameters.

    Initially random, each coordinate ~ U(−1, 1) √(3 / d); after each batch v ← normalise(μ v + (1 − μ) g). Z is set
    by the first batch to n times the mean of exp(⟨g, v⟩ / τ), one for each side, and then stays.

    Args:
        samples: n, of the training split.
        width: d.
        negatives: m, drawn uniformly with replacement for each batch, from torch's global CPU generator.
        momentum: μ in [0, 1).
    """

    vectors: Tensor
    classes: Tensor
    log_z: Tensor

    def __init__(self, samples: int, width: int, *, negatives: int, momentum: float) -> None:
        super().__init__()
        self.samples, self.negatives, self.momentum = samples, negatives, momentum
        self.register_buffer("vectors", (torch.rand(2, samples, width) * 2 - 1) * math.sqrt(3 / width))
        self.register_buffer("classes", torch.full((samples,), UNSEEN))
        self.register_buffer("log_z", torch.full((2,), math.nan))

    def forward(self, g_s: Tensor, g_t: Tensor, batch: Batch, tau: float) -> Tensor:
        """Loss of each sample of a batch, (N,), student against teacher plus teacher against student; then update the memory.

        Args:
            g_s: Student vectors of length 1, (N, d).
            g_t: Teacher vectors of length 1, (N, d).
            batch: Their samples and classes.
            tau: τ, over 0.

        Raises:
            TrainingError: The data source does not number its samples, or several processes train.
        """
        samples = self._samples(batch)
        classes = batch.targets.clamp(min=UNSEEN)
        drawn = torch.randint(self.samples, (self.negatives,)).to(g_s.device)
        same_class = (classes.unsqueeze(1) == self.classes[drawn]) & (classes >= 0).unsqueeze(1)
        alike = same_class | (samples.unsqueeze(1) == drawn)
        sides = ((g_s, self.vectors[1]), (g_t, self.vectors[0]))
        losses = []
        for side, (own, memory) in enumerate(sides):
            other, others = memory[samples], memory[drawn]
            log_z = self._log_z(side, own.detach(), other, others, tau)
            losses.append(nce_loss(own, other, others, alike, tau=tau, log_z=log_z, samples=self.samples))
        self._update(samples, classes, torch.stack([g_s.detach(), g_t.detach()]))
        return losses[0] + losses[1]

    def _log_z(self, side: int, own: Tensor, other: Tensor, others: Tensor, tau: float) -> Tensor:
        if bool(self.log_z[side].isnan()):
            scores = torch.cat([(own * other).sum(dim=1, keepdim=True), own @ others.T], dim=1) / tau
            self.log_z[side] = scores.logsumexp(dim=(0, 1)) - math.log(scores.numel()) + math.log(self.samples)
        return self.log_z[side].clone()

    @torch.no_grad()
    def _update(self, samples: Tensor, classes: Tensor, g: Tensor) -> None:
        mixed = self.momentum * self.vectors[:, samples] + (1 - self.momentum) * g
        self.vectors[:, samples] = F.normalize(mixed, dim=2)
        self.classes[samples] = classes

    def _samples(self, batch: Batch) -> Tensor:
        if world_size() > 1:
            msg = f"a `memory` works in one process only, this launch has {world_size()}; run without accelerate launch"
            raise TrainingError(msg)
        samples: Any = batch.samples
        if samples is None:
            msg = "a `memory` needs numbered samples, and this data source does not number them; leave `memory` out"
            raise TrainingError(msg)
        return samples.to(self.vectors.device)  # type: ignore[no-any-return]
