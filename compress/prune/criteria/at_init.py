"""Importance for pruning at initialisation, from some batches: SNIP and GraSP.

Batch norms use the statistics of the batch, since an untrained network has no running statistics.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from compress.prune.criteria.base import Importance, ScoringData, refuse_channels, scores_by_name, working_copy

TEMPERATURE = 200.0
"""The logits are divided by it, as in the code of the authors of GraSP: the scale of untrained logits is arbitrary."""


def snip(seed: int = 0) -> Importance:  # noqa: ARG001
    """Connection sensitivity |∂L/∂c| of a factor c = 1 on each weight, which equals |w · ∂L/∂w|. Not for channels.

    Lee et al. 2019, "SNIP: Single-shot Network Pruning based on Connection Sensitivity", arXiv:1810.02340, equation 5.
    """
    scores: dict[str, Tensor] = {}

    def collect(module: nn.Module, data: ScoringData) -> None:
        work = working_copy(module, data.device, batch_statistics=True)
        g = _gradient(work, data, 1.0)
        scores.update({name: (work.get_parameter(name).detach() * g[name]).abs().cpu() for name in data.prunable if name in g})

    return Importance(channels=refuse_channels, weights=scores_by_name(scores), collect=collect)


def grasp(seed: int = 0) -> Importance:  # noqa: ARG001
    """Effect of a weight on the gradient flow ‖g‖²: w · (H g), g = ∂L/∂w, H = ∂²L/∂w². Not for channels.

    Removing the weight changes ‖g‖² by −2 w·(H g) to first order; weights whose removal lowers it most are kept. A constant is
    added to all scores, so that the smallest is 0. Wang, Zhang & Grosse 2020, "Picking Winning Tickets Before Training by
    Preserving Gradient Flow", arXiv:2002.07376, equation 8.
    """
    scores: dict[str, Tensor] = {}

    def collect(module: nn.Module, data: ScoringData) -> None:
        work = working_copy(module, data.device, batch_statistics=True)
        g = _gradient(work, data, TEMPERATURE)
        product = _hessian_product(work, data, g, TEMPERATURE)
        flow = {name: (work.get_parameter(name).detach() * product[name]).cpu() for name in data.prunable if name in product}
        least = min(float(s.min()) for s in flow.values())
        scores.update({name: s - least for name, s in flow.items()})

    return Importance(channels=refuse_channels, weights=scores_by_name(scores), collect=collect)


def _losses(work: nn.Module, data: ScoringData, temperature: float) -> list[Tensor]:
    """Loss of each batch at a temperature, divided by the number of batches."""
    losses = []
    for batch in data.batches:
        on_device = batch.to(data.device)
        outputs = data.task.training_forward(work, on_device.inputs, on_device.targets)
        # constants, such as the anchors of a detector, are no logits
        scaled = {name: values / temperature if values.requires_grad else values for name, values in outputs.items()}
        losses.append(data.task.loss(scaled, on_device.targets) / len(data.batches))
    return losses


def _gradient(work: nn.Module, data: ScoringData, temperature: float) -> dict[str, Tensor]:
    """Mean gradient over the batches, of the parameters that the loss reaches."""
    named = {name: p for name, p in work.named_parameters() if p.requires_grad}
    total: dict[str, Tensor] = {}
    with torch.enable_grad():
        for loss in _losses(work, data, temperature):
            gradients = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
            for name, g in zip(named, gradients, strict=True):
                if g is not None:
                    total[name] = total[name] + g if name in total else g
    return total


def _hessian_product(work: nn.Module, data: ScoringData, v: dict[str, Tensor], temperature: float) -> dict[str, Tensor]:
    """H v, the gradient of gᵀ v."""
    named = {name: p for name, p in work.named_parameters() if name in v}
    total = {name: torch.zeros_like(p) for name, p in named.items()}
    with torch.enable_grad():
        for loss in _losses(work, data, temperature):
            g = torch.autograd.grad(loss, list(named.values()), create_graph=True)
            product = torch.stack([(a * v[name]).sum() for name, a in zip(named, g, strict=True)]).sum()
            for name, second in zip(named, torch.autograd.grad(product, list(named.values()), allow_unused=True), strict=True):
                if second is not None:
                    total[name] += second
    return total
