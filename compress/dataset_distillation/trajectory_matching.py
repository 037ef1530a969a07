"""Trajectory matching: a few steps on the set lead the weights where epochs on real images led an expert's.

Cazenavette et al. 2022, "Dataset Distillation by Matching Training Trajectories" (MTT), arXiv:2203.11932, algorithm 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call

from compress.data.differentiable_augment import PROBABILITIES, differentiable_augment
from compress.dataset_distillation.base import Trajectory
from compress.dataset_distillation.convnet import ConvNet
from compress.dataset_distillation.job import Job


def missed(theta: Tensor, start: Tensor, goal: Tensor) -> Tensor:
    """How far from the expert the student ended, against how far the expert went (equation 2).

        L = ‖θ̂_{t+N} − θ*_{t+M}‖² / ‖θ*_t − θ*_{t+M}‖²

    Args:
        theta: θ̂_{t+N}, weights of the student after N steps from `start`, (P,).
        start: θ*_t, weights of the expert where the student started, (P,).
        goal: θ*_{t+M}, weights of the expert M epochs later, (P,).

    Returns:
        Scalar, 0 where the student arrived and 1 where it did not move.
    """
    return (theta - goal).square().sum() / (start - goal).square().sum()


def walked(network: ConvNet, theta: Tensor, batches: Sequence[tuple[Tensor, Tensor]], lr: Tensor) -> Tensor:
    """Weights after a step of gradient descent on each batch, differentiable in the batches and in lr.

        θ ← θ − α ∇_θ ℓ(x, y; θ)

    Args:
        network: Gives the architecture.
        theta: First weights, (P,).
        batches: Images (B, C, H, W) and classes (B,) of each step.
        lr: α, scalar.
    """
    for x, y in batches:
        loss = F.cross_entropy(functional_call(network, unflattened(network, theta), (x,)), y)
        (slope,) = torch.autograd.grad(loss, theta, create_graph=True)
        theta = theta - lr * slope
    return theta


def unflattened(network: ConvNet, theta: Tensor) -> dict[str, Tensor]:
    """A vector of all weights, (P,), as the network's weights by name."""
    sizes = {name: parameter.shape for name, parameter in network.named_parameters()}
    parts = torch.split(theta, [shape.numel() for shape in sizes.values()])
    return {name: part.view(shape) for (name, shape), part in zip(sizes.items(), parts, strict=True)}


def updates(
    way: Trajectory,
    job: Job,
    experts: Sequence[Tensor],
    images: Tensor,
    targets: Tensor,
    number: int,
    learned: dict[str, Tensor],
) -> Iterator[Tensor]:
    """One student from a random epoch of a random expert, and how much it missed by."""
    generator = job.seeded(2, number)
    expert = experts[int(torch.randint(len(experts), (), generator=generator))]
    first = int(torch.randint(way.start + 1, (), generator=generator))
    start, goal = (expert[epoch].to(images.device) for epoch in (first, first + way.ahead))
    batches = []
    for _ in range(way.steps):
        rows = torch.randperm(len(images), generator=generator)[: way.student_batch].to(images.device)
        chance = torch.rand(1, PROBABILITIES, generator=generator).to(images.device)
        batches.append((differentiable_augment(images[rows], job.operations, chance), targets[rows]))
    theta = walked(job.fresh(1), start.clone().requires_grad_(), batches, learned["log_student_lr"].exp())
    yield missed(theta, start, goal)
