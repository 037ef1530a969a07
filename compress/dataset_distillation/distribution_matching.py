"""Distribution matching: mean features of each class match those of real images, in networks with random weights.

Zhao & Bilen 2023, "Dataset Condensation with Distribution Matching", arXiv:2110.04181, algorithm 1. Imports torch only when it
runs.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from pydantic import Field

from compress.dataset_distillation.base import OptimizedImages

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from compress.dataset_distillation.job import SynthesisTask
    from compress.dataset_distillation.optimize_images import LossesOfRound


class DistributionMatching(OptimizedImages):
    """`distribution`: mean features of the set match those of real images, in networks with random weights."""

    iterations: int = Field(default=1000, ge=1)
    lr: float = Field(default=1.0, gt=0.0)

    def losses(self, task: SynthesisTask) -> LossesOfRound:
        """See `matching_losses`."""
        return partial(matching_losses, self, task)


def mean_discrepancy(f_s: Tensor, f_t: Tensor) -> Tensor:
    """Squared distance of mean features: the maximum mean discrepancy of a linear kernel in feature space (equation 4).

        L = ‖ mean_n f_s^n − mean_m f_t^m ‖²

    Args:
        f_s: Features of synthetic images, (N, D).
        f_t: Features of real images, (M, D).

    Returns:
        Scalar, 0 where the means are equal.
    """
    return (f_s.mean(dim=0) - f_t.mean(dim=0)).square().sum()


# The arguments after `task` are those of `LossesOfRound`.
def matching_losses(
    method: DistributionMatching, task: SynthesisTask, images: Tensor, targets: Tensor, index: int, _: dict[str, Tensor]
) -> Iterator[Tensor]:
    """One loss Σ_c L_c with a network of new random weights; real and synthetic images of a class share one augmentation."""
    import torch

    from compress.data.differentiable_augment import PROBABILITIES, differentiable_augment
    from compress.dataset_distillation.job import no_grad_params

    pools, generator, classes = task.real_images(), task.generator(2, index), len(task.spec.classes)
    chance = torch.rand(classes, PROBABILITIES, generator=generator).to(images.device)
    real = [pools.draw(c, method.batch, generator) for c in range(classes)]
    counts = [len(part) for part in real]
    real_targets = torch.arange(classes, device=images.device).repeat_interleave(torch.tensor(counts, device=images.device))
    with no_grad_params(task.random_network(1, index)) as network:
        with torch.no_grad():
            f_t = network.features(
                differentiable_augment(torch.cat(real).to(images.device), task.operations, chance[real_targets])
            )
        f_s = network.features(differentiable_augment(images, task.operations, chance[targets]))
        pairs = zip(torch.split(f_s, torch.bincount(targets).tolist()), torch.split(f_t, counts), strict=True)
        yield torch.stack([mean_discrepancy(f_s_c, f_t_c) for f_s_c, f_t_c in pairs]).sum()
