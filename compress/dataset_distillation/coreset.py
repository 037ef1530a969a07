"""Real images chosen, not made: the controls that synthetic sets are held against."""

from __future__ import annotations

import torch
from torch import Tensor

from compress.dataset_distillation.base import Herding
from compress.dataset_distillation.expert_trajectories import trained
from compress.dataset_distillation.job import Job, Made


def drawn(job: Job) -> Made:
    """Images of each class, drawn at random."""
    real, generator = job.images(), job.seeded(0)
    images = torch.cat([real.draw(c, job.images_per_class, generator) for c in range(len(job.spec.classes))])
    return Made(images.clone(), job.targets())


def herd(f: Tensor, count: int) -> list[int]:
    """Samples chosen one by one so that their mean feature stays closest to that of all (Welling 2009, ICML).

        i_k = argmin_i ‖ μ − (f_i + Σ_{j<k} f_{i_j}) / k ‖,   μ = mean of f

    Arxiv:1611.07725 (iCaRL), algorithm 4.

    Args:
        f: Features, (N, D).
        count: How many to choose, at most N.

    Returns:
        Their numbers, in the order of choice; no sample twice.
    """
    mean, total = f.mean(dim=0), torch.zeros_like(f[0])
    chosen: list[int] = []
    for k in range(1, count + 1):
        away = (mean - (total + f) / k).square().sum(dim=1)
        away[chosen] = torch.inf
        chosen.append(int(away.argmin()))
        total = total + f[chosen[-1]]
    return chosen


def herded(job: Job, way: Herding) -> Made:
    """Images of each class, herded by the features of a network that was trained on all of them."""
    network = job.fresh(4, 0)
    trained(job, network, epochs=way.epochs, lr=way.lr, label="herding", seed=0)
    images = []
    for own in job.images().by_class:
        with torch.no_grad():
            f = torch.cat([network.features(part.to(job.device)).cpu() for part in torch.split(own, 256)])
        images.append(own[herd(f, job.images_per_class)])
    return Made(torch.cat(images).clone(), job.targets())
