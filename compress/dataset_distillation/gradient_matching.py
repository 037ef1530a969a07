"""Gradient matching: training on the set pulls the weights the way that training on real images does.

Zhao, Mopuri & Bilen 2021, "Dataset Condensation with Gradient Matching" (DC), arXiv:2006.05929, algorithm 1; with the same
augmentation on both sides it is DSA, arXiv:2102.08259.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from compress.data.differentiable_augment import PROBABILITIES, differentiable_augment
from compress.dataset_distillation.base import Gradient
from compress.dataset_distillation.job import Job


def distance(g_s: Sequence[Tensor], g_t: Sequence[Tensor]) -> Tensor:
    """How differently two gradients of one network point, summed over the units of all layers (DC, equation 10).

        D = Σ_l Σ_i (1 − ⟨g_s^{l,i}, g_t^{l,i}⟩ / (‖g_s^{l,i}‖ ‖g_t^{l,i}‖))

    Args:
        g_s: Gradient on synthetic images, a tensor for each weight; i counts its first dimension. Weights of one
            dimension (biases, norms) are left out, as in the paper.
        g_t: Likewise on real images.

    Returns:
        Scalar, from 0 where both point alike to twice the number of units.
    """
    parts = []
    for a, b in zip(g_s, g_t, strict=True):
        if a.ndim > 1:
            parts.append((1 - F.cosine_similarity(a.flatten(1), b.flatten(1), dim=1, eps=1e-6)).sum())
    return torch.stack(parts).sum()


def gradients(network: nn.Module, x: Tensor, y: Tensor, *, keep: bool = False) -> tuple[Tensor, ...]:
    """Gradient of the cross-entropy by all weights; with `keep` it can be differentiated again."""
    loss = F.cross_entropy(network(x), y)
    return torch.autograd.grad(loss, tuple(network.parameters()), create_graph=keep)


def updates(way: Gradient, job: Job, images: Tensor, targets: Tensor, number: int, _: dict[str, Tensor]) -> Iterator[Tensor]:
    """One network from fresh weights: in turns the images learn from it, Σ_c D_c, and it from the images."""
    network, real = job.fresh(1, number), job.images()
    optimizer = torch.optim.SGD(network.parameters(), lr=way.network_lr, momentum=0.5)
    generator = job.seeded(2, number)
    for inner in range(way.each):
        distances = []
        for c in range(len(job.spec.classes)):
            chance = torch.rand(1, PROBABILITIES, generator=generator).to(images.device)
            truth = real.draw(c, way.batch, generator).to(images.device)
            mine = images[targets == c]
            g_t = gradients(network, differentiable_augment(truth, job.operations, chance), targets.new_full((len(truth),), c))
            g_s = gradients(
                network, differentiable_augment(mine, job.operations, chance), targets.new_full((len(mine),), c), keep=True
            )
            distances.append(distance(g_s, g_t))
        yield torch.stack(distances).sum()
        if inner < way.each - 1:
            _train(network, optimizer, way.network_steps, job, images.detach(), targets, generator)


def _train(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    steps: int,
    job: Job,
    images: Tensor,
    targets: Tensor,
    generator: torch.Generator,
) -> None:
    """Some steps on the whole set, or on 256 images of it at a time."""
    for _ in range(steps):
        rows = torch.randperm(len(images), generator=generator)[:256].to(images.device)
        chance = torch.rand(1, PROBABILITIES, generator=generator).to(images.device)
        optimizer.zero_grad()
        F.cross_entropy(network(differentiable_augment(images[rows], job.operations, chance)), targets[rows]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
