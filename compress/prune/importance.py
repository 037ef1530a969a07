"""What a channel or a weight is worth: the lowest scores are removed first.

Each function gives an `Importance`, which scores channel groups of torch-pruning's dependency graph and single weights.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch_pruning as tp
from torch import Tensor, nn

from compress.data.splits import Batch
from compress.tasks.base import Task


@dataclass(frozen=True)
class Importance:
    """Scores of one kind.

    Attributes:
        channels: (root layer's name, torch-pruning group over all its channels) → scores (C,), comparable between groups:
            each is divided by its group's mean. None for a group without weights of its own.
        weights: (parameter's name, parameter) → scores of the parameter's shape, at least 0.
        needs_gradients: Whether the parameters must hold gradients of the task's loss.
    """

    channels: Callable[[str, Any], Tensor | None]
    weights: Callable[[str, Tensor], Tensor]
    needs_gradients: bool = False


def magnitude(seed: int = 0) -> Importance:  # noqa: ARG001
    """Norm of the weights.

    Channel: Σ w² over its weights, averaged over the layers of its group; weight: |w|.
    Li et al. 2017, "Pruning Filters for Efficient ConvNets", arXiv:1608.08710; Han et al. 2015, arXiv:1506.02626.
    """
    scorer = tp.importance.GroupMagnitudeImportance(p=2)
    return Importance(channels=lambda _, group: scorer(group), weights=lambda _, w: w.detach().abs())


def taylor(seed: int = 0) -> Importance:  # noqa: ARG001
    """First-order estimate of the loss's change when a weight w with gradient g = ∂L/∂w is set to zero.

    Channel: Σ |w·g| over its weights, averaged over the layers of its group; weight: |w·g|.
    Molchanov et al. 2019, "Importance Estimation for Neural Network Pruning", arXiv:1906.10771.
    """
    scorer = tp.importance.GroupTaylorImportance()
    return Importance(channels=lambda _, group: scorer(group), weights=_taylor_weight, needs_gradients=True)


def _taylor_weight(name: str, w: Tensor) -> Tensor:
    if w.grad is None:
        msg = f"{name} holds no gradient; call accumulate first"
        raise ValueError(msg)
    return (w.detach() * w.grad).abs()


def random(seed: int = 0) -> Importance:
    """Uniform in (0, 1], a function of the seed and the name: the control that any method must beat."""

    def draw(name: str, shape: tuple[int, ...]) -> Tensor:
        generator = torch.Generator().manual_seed(zlib.crc32(f"{seed}:{name}".encode()))
        return 1 - torch.rand(shape, generator=generator)

    return Importance(
        channels=lambda name, group: draw(name, (len(group[0].idxs),)),
        weights=lambda name, w: draw(name, tuple(w.shape)),
    )


def accumulate(module: nn.Module, batches: Iterable[Batch], task: Task, *, device: torch.device | str = "cpu") -> int:
    """Fill `.grad` with the mean gradient of the task's loss over some batches, in eval mode.

    Eval mode keeps batch-norm statistics untouched and the gradient a function of the batches alone. A parameter that the
    loss does not reach gets a zero gradient.

    Args:
        module: Ends on the CPU, in eval mode.
        batches: Training batches.
        task: Gives the loss.
        device: Where to compute.

    Returns:
        How many batches were used.
    """
    module.to(device).eval()
    module.zero_grad(set_to_none=True)
    count = 0
    with torch.enable_grad():
        for batch in batches:
            task.loss(module(batch.inputs.to(device)), batch.targets.to(device)).backward()  # type: ignore[no-untyped-call]
            count += 1
    module.to("cpu")
    for parameter in module.parameters():
        parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.cpu() / max(count, 1)
    return count
