"""Importance from gates: what the loss changes by when whatever reads a channel sees zero in its place.

    s_c = Σ_n (Σ_l ∂L_n/∂m_lc)²,   ∂L_n/∂m_lc = Σ_w w · ∂L_n/∂w over the weights w of layer l that read channel c

m_lc is a gate of 1 on channel c where layer l reads it, n a sample. The sum over l comes before the square, since all gates of
a channel close together. Liu et al. 2021, "Group Fisher Pruning for Practical Network Compression", arXiv:2108.00708, equation
5; the expansion is Theis et al. 2018, arXiv:1801.05787. Both divide it by what goes with the channel, as the stage does.
"""

from __future__ import annotations

from typing import Any

import torch
import torch_pruning as tp
from torch import Tensor, nn

from compress.prune.importance.base import LAYERS, Importance, Material, not_for_weights
from compress.prune.importance.gradients import one_by_one

_READS = frozenset({tp.prune_conv_in_channels, tp.prune_linear_in_channels})  # bound methods


def fisher(seed: int = 0) -> Importance:  # noqa: ARG001
    """Squared gradient of a channel's gates, summed over samples; one backward pass a sample. None where nothing reads it.

    Attention heads: the same, their gate being on what the output projection reads. Not for single weights.
    """
    gates: dict[str, Tensor] = {}

    def collect(module: nn.Module, given: Material) -> None:
        gates.clear()
        readers = {name: part for name, part in module.named_modules() if isinstance(part, LAYERS) and part.weight.numel()}
        rows: dict[str, list[Tensor]] = {name: [] for name in readers}
        for _ in one_by_one(module, given):
            for name, part in readers.items():
                rows[name].append(inputs_of(part).cpu())
        gates.update((name, torch.stack(found)) for name, found in rows.items() if found)

    return Importance(
        channels=lambda _, group: _summed(group, gates),
        weights=not_for_weights,
        collect=collect,
        gates=gates.__getitem__,
        loss_change=True,
    )


def inputs_of(part: nn.Module) -> Tensor:
    """Gradient of a gate on each input of a convolution or linear layer that holds gradients, (in_channels,)."""
    weight: Any = part.weight
    product: Tensor = (weight * weight.grad).detach()
    if getattr(part, "transposed", False):
        return product.flatten(1).sum(1)
    groups: int = getattr(part, "groups", 1)
    return product.view(groups, len(product) // groups, product.shape[1], -1).sum((1, 3)).flatten()


def _summed(group: Any, gates: dict[str, Tensor]) -> Tensor | None:
    width = len(group[0].root_idxs)
    total: Tensor | None = None
    for dep, indices, roots in ((one.dep, one.idxs, one.root_idxs) for one in group):
        found = gates.get(dep.target.name.partition(" (")[0]) if dep.handler in _READS else None
        if found is None:
            continue
        total = torch.zeros(len(found), width) if total is None else total
        pairs = [(index, root) for index, root in zip(indices, roots, strict=True) if root is not None]
        here, there = torch.tensor(pairs).T
        total.index_add_(1, there, found[:, here])
    return None if total is None else total.square().sum(0)
