"""Distribution matching: classes have the same mean feature in the set as in the data, whatever random network looks.

Zhao & Bilen 2023, "Dataset Condensation with Distribution Matching", arXiv:2110.04181, algorithm 1.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from compress.data.differentiable_augment import PROBABILITIES, differentiable_augment
from compress.dataset_distillation.base import Distribution
from compress.dataset_distillation.job import Job, frozen


def discrepancy(f_s: Tensor, f_t: Tensor) -> Tensor:
    """Squared distance of mean features: the maximum mean discrepancy of a linear kernel in feature space (equation 4).

        L = ‖ mean_n f_s^n − mean_m f_t^m ‖²

    Args:
        f_s: Features of synthetic images, (N, D).
        f_t: Features of real images, (M, D).

    Returns:
        Scalar, 0 where the means are equal.
    """
    return (f_s.mean(dim=0) - f_t.mean(dim=0)).square().sum()


def updates(
    way: Distribution, job: Job, images: Tensor, targets: Tensor, number: int, _: dict[str, Tensor]
) -> Iterator[Tensor]:
    """A network with fresh random weights, and one loss Σ_c L_c; each class has one augmentation for both sides."""
    real, generator, classes = job.images(), job.seeded(2, number), len(job.spec.classes)
    chance = torch.rand(classes, PROBABILITIES, generator=generator).to(images.device)
    drawn = [real.draw(c, way.batch, generator) for c in range(classes)]
    counts = [len(part) for part in drawn]
    own = torch.arange(classes, device=images.device).repeat_interleave(torch.tensor(counts, device=images.device))
    with frozen(job.fresh(1, number)) as network:
        with torch.no_grad():
            f_t = network.features(differentiable_augment(torch.cat(drawn).to(images.device), job.operations, chance[own]))
        f_s = network.features(differentiable_augment(images, job.operations, chance[targets]))
        pairs = zip(torch.split(f_s, torch.bincount(targets).tolist()), torch.split(f_t, counts), strict=True)
        yield torch.stack([discrepancy(mine, truth) for mine, truth in pairs]).sum()
