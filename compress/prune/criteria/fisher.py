"""Group Fisher importance: the change of the loss when every layer that reads a channel reads zeros instead.

    s_c = Σ_n (Σ_l ∂L_n/∂m_lc)²,   ∂L_n/∂m_lc = Σ_w w · ∂L_n/∂w over the weights w of layer l that read channel c

n is a sample, m_lc = 1 a factor (gate) on channel c at the input of layer l. The sum over l is inside the square, since all
gates of a channel become zero together. Liu et al. 2021, "Group Fisher Pruning for Practical Network Compression",
arXiv:2108.00708, equation 5; the expansion is from Theis et al. 2018, arXiv:1801.05787. Both divide s_c by the cost of the
channel, as the stage does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial

import torch
import torch_pruning as tp
from torch import Tensor, nn

from compress.core.language import gettext
from compress.prune.criteria.base import LAYERS, Importance, Layer, ScoringData, refuse_weights
from compress.prune.criteria.gradients import accumulate_gradients, per_sample_gradients
from compress.prune.graph_types import Group

_READS = frozenset({tp.prune_conv_in_channels, tp.prune_linear_in_channels})  # bound methods


def fisher(seed: int = 0) -> Importance:  # noqa: ARG001
    """Squared gradient of the gates of a channel, summed over samples; None where no layer reads the channel. Not for weights.

    The gate of an attention head is on the input of the output projection. It takes one backward pass for each batch, and one
    for each sample where layers read tokens or a function uses their weights.
    """
    gates: dict[str, Tensor] = {}

    def collect(module: nn.Module, data: ScoringData) -> None:
        gates.clear()
        gates.update(gate_gradients(module, data))

    return Importance(
        channels=lambda _, group: _group_fisher(group, gates),
        weights=refuse_weights,
        collect=collect,
        gates=gates.__getitem__,
        loss_change=True,
    )


def gate_gradients(module: nn.Module, data: ScoringData) -> dict[str, Tensor]:
    """∂L_n/∂m of a gate on every input of every convolution and linear layer that has a gradient.

    Args:
        module: The network; on the CPU and in eval mode afterwards. Its gradients are overwritten.
        data: Batches, whose loss is a mean over samples.

    Returns:
        (samples, in_channels) by layer name.
    """
    readers = {name: part for name, part in module.named_modules() if isinstance(part, LAYERS) and part.weight.numel()}
    rows: dict[str, list[Tensor]] = {}
    rest = dict(readers)
    for batch in data.batches:
        with _record_gates(readers, batch.size) as gates:
            accumulate_gradients(module, [batch], data.task, device=data.device)
        for name, gradients in gates.items():
            rest.pop(name, None)
            if gradients is not None:
                rows.setdefault(name, []).append(gradients.cpu() * batch.size)
    if rest:
        for _ in per_sample_gradients(module, data):
            for name, part in rest.items():
                rows.setdefault(name, []).append(input_gate_gradient(part).cpu()[None])
    return {name: torch.cat(gradients) for name, gradients in rows.items()}


@contextmanager
def _record_gates(readers: Mapping[str, Layer], samples: int) -> Iterator[dict[str, Tensor | None]]:
    """In the context: gradients of the gates of the layers that read one feature vector or image for each sample.

    None for a layer that the gradient does not reach. A layer with other inputs, such as tokens, has no entry, since it is
    unknown which of its rows belong to which sample.
    """
    gates: dict[str, Tensor | None] = {}

    def hook(name: str, part: Layer, args: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        x = args[0]
        if len(x) != samples or x.dim() != (2 if isinstance(part, nn.Linear) else 2 + len(part.kernel_size)):
            return None
        gates.setdefault(name, None)
        if not x.requires_grad:
            return None
        view = x.view_as(x)  # its gradient comes from this layer alone, not from other readers of x
        values = x.detach()  # a hook that refers to `view` would keep the graph alive

        def add(gradient: Tensor) -> None:
            gate = (values * gradient).flatten(2).sum(2) if values.dim() > 2 else values * gradient
            earlier = gates[name]
            gates[name] = gate if earlier is None else earlier + gate

        view.register_hook(add)  # type: ignore[no-untyped-call]
        return (view, *args[1:])

    handles = [part.register_forward_pre_hook(partial(hook, name)) for name, part in readers.items()]
    try:
        yield gates
    finally:
        for handle in handles:
            handle.remove()


def input_gate_gradient(part: Layer) -> Tensor:
    """Gradient of a gate on each input of a convolution or linear layer, from the gradient of its weight, (in_channels,)."""
    weight = part.weight
    if weight.grad is None:
        msg = gettext("a {kind} holds no gradient; call backward first", kind=type(part).__name__)
        raise ValueError(msg)
    product = (weight * weight.grad).detach()
    if getattr(part, "transposed", False):
        return product.flatten(1).sum(1)
    groups: int = getattr(part, "groups", 1)
    return product.view(groups, len(product) // groups, product.shape[1], -1).sum((1, 3)).flatten()


def _group_fisher(group: Group, gates: dict[str, Tensor]) -> Tensor | None:
    width = len(group[0].root_idxs)
    total: Tensor | None = None
    for member in group:
        dep = member.dep
        gate = gates.get(dep.target.name.partition(" (")[0]) if dep.handler in _READS else None
        if gate is None:
            continue
        total = torch.zeros(len(gate), width) if total is None else total
        pairs = [(index, root) for index, root in zip(member.idxs, member.root_idxs, strict=True) if root is not None]
        inputs, channels = torch.tensor(pairs).T
        total.index_add_(1, channels, gate[:, inputs])
    return None if total is None else total.square().sum(0)
