"""Gradient matching: the gradients of the weights on the synthetic set match those on real images.

Zhao, Mopuri & Bilen 2021, "Dataset Condensation with Gradient Matching" (DC), arXiv:2006.05929, algorithm 1; with the same
augmentation of synthetic and real images it is DSA, arXiv:2102.08259. Imports torch only when it runs.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from pydantic import Field

from compress.dataset_distillation.base import OptimizedImages

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import torch
    from torch import Tensor, nn

    from compress.dataset_distillation.job import SynthesisTask
    from compress.dataset_distillation.optimize_images import LossesOfRound


class GradientMatching(OptimizedImages):
    """`gradient`: the gradients of the weights on the set match those on real images (DC; DSA with `augmentation`).

    Attributes:
        inner: Updates of the images for one network; then a network with new random weights replaces it.
        network_steps: Training steps of the network on the set between two updates of the images.
        network_lr: Their learning rate.
    """

    iterations: int = Field(default=500, ge=1)
    lr: float = Field(default=0.1, gt=0.0)
    inner: int = Field(default=10, ge=1)
    network_steps: int = Field(default=10, ge=0)
    network_lr: float = Field(default=0.01, gt=0.0)

    @property
    def iterations_per_round(self) -> int:
        """Updates of the images for one network."""
        return min(self.inner, self.iterations)

    def losses(self, task: SynthesisTask) -> LossesOfRound:
        """See `matching_losses`."""
        return partial(matching_losses, self, task)


def gradient_distance(g_s: Sequence[Tensor], g_t: Sequence[Tensor]) -> Tensor:
    """Cosine distance of two gradients of a network, summed over the output units of all layers (DC, equation 10).

        D = Σ_l Σ_i (1 − ⟨g_s^{l,i}, g_t^{l,i}⟩ / (‖g_s^{l,i}‖ ‖g_t^{l,i}‖))

    Args:
        g_s: Gradient on synthetic images, one tensor for each weight; i is the index of its first dimension. Weights of one
            dimension (biases, norms) are left out, as in the paper.
        g_t: The same on real images.

    Returns:
        Scalar from 0, for equal directions, to twice the number of units.
    """
    import torch
    import torch.nn.functional as F

    parts = []
    for a, b in zip(g_s, g_t, strict=True):
        if a.ndim > 1:
            parts.append((1 - F.cosine_similarity(a.flatten(1), b.flatten(1), dim=1, eps=1e-6)).sum())
    return torch.stack(parts).sum()


def weight_gradients(network: nn.Module, x: Tensor, y: Tensor, *, keep_graph: bool = False) -> tuple[Tensor, ...]:
    """Gradient of the cross-entropy with respect to all weights; with `keep_graph` it can be differentiated again."""
    import torch
    import torch.nn.functional as F

    loss = F.cross_entropy(network(x), y)
    return torch.autograd.grad(loss, tuple(network.parameters()), create_graph=keep_graph)


# The arguments after `task` are those of `LossesOfRound`.
def matching_losses(
    method: GradientMatching, task: SynthesisTask, images: Tensor, targets: Tensor, index: int, _: dict[str, Tensor]
) -> Iterator[Tensor]:
    """The losses Σ_c D_c with one network of new random weights, which is trained on the images between two updates of them."""
    import torch

    from compress.data.differentiable_augment import PROBABILITIES, differentiable_augment

    network, pools = task.random_network(1, index), task.real_images()
    optimizer = torch.optim.SGD(network.parameters(), lr=method.network_lr, momentum=0.5)
    generator = task.generator(2, index)
    for inner in range(method.iterations_per_round):
        distances = []
        for c in range(len(task.spec.classes)):
            chance = torch.rand(1, PROBABILITIES, generator=generator).to(images.device)
            real = pools.draw(c, method.batch, generator).to(images.device)
            synthetic = images[targets == c]
            x_t, x_s = (differentiable_augment(x, task.operations, chance) for x in (real, synthetic))
            g_t = weight_gradients(network, x_t, targets.new_full((len(real),), c))
            g_s = weight_gradients(network, x_s, targets.new_full((len(synthetic),), c), keep_graph=True)
            distances.append(gradient_distance(g_s, g_t))
        yield torch.stack(distances).sum()
        if inner < method.iterations_per_round - 1:
            for _step in range(method.network_steps):
                _train_step(network, optimizer, task.operations, images.detach(), targets, generator)


def _train_step(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    operations: Sequence[str],
    images: Tensor,
    targets: Tensor,
    generator: torch.Generator,
) -> None:
    """One step of training on the whole set, or on 256 images of it."""
    import torch
    import torch.nn.functional as F

    from compress.data.differentiable_augment import PROBABILITIES, differentiable_augment

    rows = torch.randperm(len(images), generator=generator)[:256].to(images.device)
    chance = torch.rand(1, PROBABILITIES, generator=generator).to(images.device)
    optimizer.zero_grad()
    torch.autograd.backward(F.cross_entropy(network(differentiable_augment(images[rows], operations, chance)), targets[rows]))
    optimizer.step()
