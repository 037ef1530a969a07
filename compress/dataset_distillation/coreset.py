"""Coresets: real images that are selected, as baselines for synthetic sets. Imports torch only when it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from pydantic import Field

from compress.dataset_distillation.base import DatasetDistillationMethod

if TYPE_CHECKING:
    from torch import Tensor

    from compress.dataset_distillation.job import SynthesisTask, SyntheticSet


class RandomSubset(DatasetDistillationMethod):
    """`random`: real images drawn at random; the baseline of the other methods."""

    def synthesize(self, task: SynthesisTask) -> SyntheticSet:
        """See `random_subset`."""
        return random_subset(task)


class Herding(DatasetDistillationMethod):
    """`herding`: real images whose mean feature is close to that of their class (Welling 2009, ICML; arXiv:1611.07725).

    Attributes:
        epochs: Epochs of training of the network that computes the features.
        lr: Learning rate of that training.
    """

    epochs: int = Field(default=10, ge=1)
    lr: float = Field(default=0.01, gt=0.0)

    def synthesize(self, task: SynthesisTask) -> SyntheticSet:
        """Images of each class, selected by the features of a network that was trained on all real images."""
        import torch

        from compress.dataset_distillation.expert_trajectories import train_on_real_images
        from compress.dataset_distillation.job import SyntheticSet

        network = task.random_network(4, 0)
        train_on_real_images(task, network, epochs=self.epochs, lr=self.lr, label="herding", seed=0)
        selected = []
        for images in task.real_images().by_class:
            with torch.no_grad():
                f = torch.cat([network.features(part.to(task.device)).cpu() for part in torch.split(images, 256)])
            selected.append(images[herding(f, task.images_per_class)])
        return SyntheticSet(torch.cat(selected).clone(), task.targets())

    def smoke(self) -> Self:
        """One epoch."""
        return self.model_copy(update={"epochs": 1})


def random_subset(task: SynthesisTask) -> SyntheticSet:
    """Real images of each class, drawn at random."""
    import torch

    from compress.dataset_distillation.job import SyntheticSet

    pools, generator = task.real_images(), task.generator(0)
    images = torch.cat([pools.draw(c, task.images_per_class, generator) for c in range(len(task.spec.classes))])
    return SyntheticSet(images.clone(), task.targets())


def herding(f: Tensor, count: int) -> list[int]:
    """Select samples greedily so that their mean feature stays closest to the mean of all (Welling 2009, ICML).

        i_k = argmin_i ‖ μ − (f_i + Σ_{j<k} f_{i_j}) / k ‖,   μ = mean of f

    arXiv:1611.07725 (iCaRL), algorithm 4.

    Args:
        f: Features, (N, D).
        count: Samples to select, at most N.

    Returns:
        Their indices in the order of selection; no sample twice.
    """
    import torch

    mean, total = f.mean(dim=0), torch.zeros_like(f[0])
    selected: list[int] = []
    for k in range(1, count + 1):
        distance = (mean - (total + f) / k).square().sum(dim=1)
        distance[selected] = torch.inf
        selected.append(int(distance.argmin()))
        total = total + f[selected[-1]]
    return selected
