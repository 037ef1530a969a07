"""Importance from gradients of the loss: first-order Taylor expansion, and the diagonal of the Hessian."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
import torch_pruning as tp
from torch import Tensor, nn

from compress.backends.eval_mode import all_require_grad
from compress.core.language import gettext
from compress.data.batch import Batch
from compress.prune.criteria.base import Importance, ScoringData
from compress.tasks.base import Task


def taylor(seed: int = 0) -> Importance:  # noqa: ARG001
    """First-order estimate of the change of the loss when a weight w with gradient g = ∂L/∂w is set to zero.

    Weight: |w·g|. Channel: Σ |w·g| over its weights, averaged over the layers of its group. The scores of a group are not
    normalised, so that more important layers keep more channels.
    Molchanov et al. 2019, "Importance Estimation for Neural Network Pruning", arXiv:1906.10771.
    """
    scorer = tp.importance.GroupTaylorImportance(normalizer=None)
    return Importance(
        channels=lambda _, group: scorer(group),
        weights=lambda name, w: (w.detach() * _gradient(name, w)).abs(),
        collect=_collect_mean,
        loss_change=True,
    )


def hessian(seed: int = 0) -> Importance:  # noqa: ARG001
    """Second-order estimate of the same change, by the diagonal of the Hessian.

        ΔL ≈ ½ h w²,   h = mean over samples of g²

    h is the empirical Fisher information, which equals the diagonal where the network fits the distribution of the labels.
    Weight: h w², since the factor ½ does not change the order. Channel: Σ h w² over its weights, averaged over the layers of
    its group. It takes one backward pass per sample. LeCun, Denker & Solla 1989, "Optimal Brain Damage", NeurIPS 2.
    """
    scorer = tp.importance.GroupHessianImportance(normalizer=None)
    return Importance(
        channels=lambda _, group: scorer(group),
        weights=lambda name, w: w.detach().square() * _gradient(name, w),
        collect=_collect_squares,
        loss_change=True,
    )


def _gradient(name: str, w: Tensor) -> Tensor:
    if w.grad is None:
        msg = gettext("{name} has no gradient; call collect first", name=name)
        raise ValueError(msg)
    return w.grad


def _collect_mean(module: nn.Module, data: ScoringData) -> None:
    accumulate_gradients(module, data.batches, data.task, device=data.device)


def accumulate_gradients(
    module: nn.Module, batches: Iterable[Batch], task: Task, *, device: torch.device | str = "cpu"
) -> None:
    """Fill `.grad` with the mean gradient of the task's loss over some batches.

    In eval mode batch-norm statistics do not change, and the gradient is a function of the batches alone. A parameter that the
    loss does not reach gets a zero gradient.

    Args:
        module: The network; on the CPU and in eval mode afterwards.
        batches: Training batches.
        task: Defines the loss.
        device: Device of the computation.
    """
    module.to(device).eval()
    module.zero_grad(set_to_none=True)
    count = 0
    with all_require_grad(module), torch.enable_grad():
        for batch in batches:
            on_device = batch.to(device)
            torch.autograd.backward(
                task.loss(task.training_forward(module, on_device.inputs, on_device.targets), on_device.targets)
            )
            count += 1
    module.to("cpu")
    for parameter in module.parameters():
        parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.cpu() / max(count, 1)


def per_sample_gradients(module: nn.Module, data: ScoringData) -> Iterator[None]:
    """Fill `.grad` with the gradient of the loss of each sample in turn; a parameter that the loss does not reach has zeros.

    The network is in eval mode; it is on the device of the data while the iterator runs, and on the CPU afterwards.
    """
    module.to(data.device).eval()
    for batch in data.batches:
        on_device = batch.to(data.device)
        for index in range(batch.size):
            sample = on_device.rows(slice(index, index + 1))
            module.zero_grad(set_to_none=True)
            with all_require_grad(module), torch.enable_grad():
                outputs = data.task.training_forward(module, sample.inputs, sample.targets)
                torch.autograd.backward(data.task.loss(outputs, sample.targets))
            for parameter in module.parameters():
                parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            yield
    module.to("cpu")


def _collect_squares(module: nn.Module, data: ScoringData) -> None:
    """Fill `.grad` with the mean over samples of the squared gradient."""
    sums: dict[str, Tensor] = {}
    samples = 0
    for _ in per_sample_gradients(module, data):
        for name, parameter in module.named_parameters():
            square = _gradient(name, parameter).square()
            sums[name] = sums[name] + square if samples else square
        samples += 1
    for name, parameter in module.named_parameters():
        parameter.grad = sums[name].to(parameter.device) / samples if samples else torch.zeros_like(parameter)
