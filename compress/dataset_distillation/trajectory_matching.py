"""Trajectory matching: a few steps on the set lead the weights to where epochs on real images led those of an expert.

Cazenavette et al. 2022, "Dataset Distillation by Matching Training Trajectories" (MTT), arXiv:2203.11932, algorithm 1. Imports
torch only when it runs.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Self

from pydantic import Field, model_validator

from compress.core.language import gettext
from compress.dataset_distillation.base import OptimizedImages

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from compress.dataset_distillation.convnet import ConvNet
    from compress.dataset_distillation.job import SynthesisTask
    from compress.dataset_distillation.optimize_images import LossesOfRound


class TrajectoryMatching(OptimizedImages):
    """`trajectory`: training on the set leads the weights to where training on real images led them.

    Attributes:
        experts: Number of expert trainings on real images; they are kept in the run's cache.
        epochs: Epochs of each expert.
        expert_lr: Learning rate of the experts.
        start: Last epoch of an expert at which a student may start.
        ahead: Epochs of the expert that a student must cover, M.
        steps: Steps of the student, N.
        student_batch: Synthetic images per step.
        student_lr: Initial learning rate of the student; it is learned.
        lr_lr: Learning rate of its logarithm.
    """

    iterations: int = Field(default=500, ge=1)
    lr: float = Field(default=100.0, gt=0.0)
    experts: int = Field(default=5, ge=1)
    epochs: int = Field(default=15, ge=1)
    expert_lr: float = Field(default=0.01, gt=0.0)
    start: int = Field(default=8, ge=0)
    ahead: int = Field(default=2, ge=1)
    steps: int = Field(default=10, ge=1)
    student_batch: int = Field(default=128, ge=1)
    student_lr: float = Field(default=0.02, gt=0.0)
    lr_lr: float = Field(default=0.01, ge=0.0)

    @model_validator(mode="after")
    def _check_epochs(self) -> Self:
        if self.start + self.ahead > self.epochs:
            msg = gettext(
                "a student that starts at epoch {start} and covers {ahead} needs experts of "
                "{needed} epochs, and they have {epochs}; raise epochs, or lower start or ahead",
                start=self.start,
                ahead=self.ahead,
                needed=self.start + self.ahead,
                epochs=self.epochs,
            )
            raise ValueError(msg)
        return self

    def learned_parameters(self) -> dict[str, float]:
        """The logarithm of the student's learning rate."""
        return {"log_student_lr": math.log(self.student_lr)}

    def losses(self, task: SynthesisTask) -> LossesOfRound:
        """See `matching_losses`; the experts are trained, or read from the cache, once."""
        from compress.dataset_distillation.expert_trajectories import load_or_train_experts

        experts = load_or_train_experts(task, self.experts, epochs=self.epochs, lr=self.expert_lr)
        return partial(matching_losses, self, task, experts)

    def smoke(self) -> Self:
        """One expert of two epochs."""
        update = {"experts": 1, "epochs": 2, "start": 0, "ahead": 1, "steps": 2}
        return super().smoke().model_copy(update=update)


def mtt_loss(theta: Tensor, start: Tensor, goal: Tensor) -> Tensor:
    """Squared distance of student and expert, normalised by the distance that the expert covered (equation 2).

        L = ‖θ̂_{t+N} − θ*_{t+M}‖² / ‖θ*_t − θ*_{t+M}‖²

    Args:
        theta: θ̂_{t+N}, weights of the student after N steps from `start`, (P,).
        start: θ*_t, weights of the expert where the student started, (P,).
        goal: θ*_{t+M}, weights of the expert M epochs later, (P,).

    Returns:
        Scalar, 0 where the student reached the goal and 1 where it did not move.
    """
    return (theta - goal).square().sum() / (start - goal).square().sum()


def student_rollout(network: ConvNet, theta: Tensor, batches: Sequence[tuple[Tensor, Tensor]], lr: Tensor) -> Tensor:
    """Weights after one step of gradient descent on each batch, differentiable in the batches and in lr.

        θ ← θ − α ∇_θ ℓ(x, y; θ)

    Args:
        network: The architecture.
        theta: Initial weights, (P,).
        batches: Images (B, C, H, W) and classes (B,) of each step.
        lr: α, scalar.
    """
    import torch
    import torch.nn.functional as F
    from torch.func import functional_call

    for x, y in batches:
        loss = F.cross_entropy(functional_call(network, unflatten_weights(network, theta), (x,)), y)
        (gradient,) = torch.autograd.grad(loss, theta, create_graph=True)
        theta = theta - lr * gradient
    return theta


def unflatten_weights(network: ConvNet, theta: Tensor) -> dict[str, Tensor]:
    """The vector of all weights, (P,), as the network's weights by name."""
    import torch

    sizes = {name: parameter.shape for name, parameter in network.named_parameters()}
    parts = torch.split(theta, [shape.numel() for shape in sizes.values()])
    return {name: part.view(shape) for (name, shape), part in zip(sizes.items(), parts, strict=True)}


# The arguments after `experts` are those of `LossesOfRound`.
def matching_losses(
    method: TrajectoryMatching,
    task: SynthesisTask,
    experts: Sequence[Tensor],
    images: Tensor,
    targets: Tensor,
    index: int,
    learned: dict[str, Tensor],
) -> Iterator[Tensor]:
    """The loss of one student that starts from a random epoch of a random expert."""
    import torch

    from compress.data.differentiable_augment import PROBABILITIES, differentiable_augment

    generator = task.generator(2, index)
    expert = experts[int(torch.randint(len(experts), (), generator=generator))]
    first = int(torch.randint(method.start + 1, (), generator=generator))
    start, goal = (expert[epoch].to(images.device) for epoch in (first, first + method.ahead))
    batches = []
    for _ in range(method.steps):
        rows = torch.randperm(len(images), generator=generator)[: method.student_batch].to(images.device)
        chance = torch.rand(1, PROBABILITIES, generator=generator).to(images.device)
        batches.append((differentiable_augment(images[rows], task.operations, chance), targets[rows]))
    lr = learned["log_student_lr"].exp()
    theta = student_rollout(task.random_network(1), start.clone().requires_grad_(), batches, lr)
    yield mtt_loss(theta, start, goal)
