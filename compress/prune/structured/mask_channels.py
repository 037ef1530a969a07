"""A network in which nothing reads some channels: zeros in the input weights of all readers, normalisation over the others.

Masking at the readers makes no assumption on the activation function between the layer and its readers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from compress.prune.graph_types import Graph, Group
from compress.prune.structured.rms_norm import is_exact, set_mask
from compress.prune.structured.tolerant_graph import LAYERS

_NORMS = (nn.LayerNorm, nn.GroupNorm)


@contextmanager
def mask_channels(graph: Graph, groups: Iterable[Group]) -> Iterator[list[str]]:
    """Zero the weights that read the channels, for good, and leave the channels out of normalisation while it runs.

    The list holds the normalisations whose statistics are not known.
    """
    unknown: list[str] = []
    masks: dict[nn.LayerNorm | nn.GroupNorm, Tensor] = {}
    rms: dict[object, nn.Module] = {part.get_parameter("weight"): part for part in graph.model.modules() if is_exact(part)}
    rms_masks: dict[nn.Module, Tensor] = {}
    for group in groups:
        for weight, mask in read_weights(graph, group):
            weight.detach().masked_fill_(mask, 0.0)
        for member in group:
            target = member.dep.target
            if isinstance(target.module, _NORMS):
                mask = masks.setdefault(target.module, torch.ones(graph.get_out_channels(target), dtype=torch.float64))
                mask[list(member.idxs)] = 0.0
            elif (norm := rms.get(target.module)) is not None:  # the graph has the weight of a module unknown to torch
                rms_masks.setdefault(norm, torch.ones_like(norm.get_parameter("weight")).detach())[list(member.idxs)] = 0.0
    try:
        for part, mask in masks.items():
            part.__dict__["forward"] = _without(part, mask, unknown)
        for norm, mask in rms_masks.items():
            set_mask(norm, mask)
        yield unknown
    finally:
        for norm in rms_masks:
            set_mask(norm, None)
        for part in masks:
            del part.__dict__["forward"]


def read_weights(graph: Graph, group: Group) -> Iterator[tuple[Tensor, Tensor]]:
    """Weights that multiply the channels of a group: the parameter, and a mask of its shape."""
    for member in group:
        dep, indices = member.dep, member.idxs
        part = dep.target.module
        if graph.is_out_channel_pruning_fn(dep.handler):
            continue
        if isinstance(part, nn.RNNBase):
            yield from (
                (parameter, _columns(parameter, indices, groups=1))
                for name, parameter in part.named_parameters()
                if name.startswith("weight_ih_l0")
            )
        elif isinstance(part, LAYERS):
            transposed = bool(getattr(part, "transposed", False))
            yield part.weight, _columns(part.weight, indices, groups=getattr(part, "groups", 1), transposed=transposed)


def _columns(weight: Tensor, indices: Sequence[int], *, groups: int, transposed: bool = False) -> Tensor:
    """True at the weights that multiply these input channels."""
    mask = torch.zeros(weight.shape, dtype=torch.bool)
    if transposed:
        mask[list(indices)] = True
        return mask
    width, rows = weight.shape[1], weight.shape[0] // groups
    for index in indices:
        first = index // width * rows
        mask[first : first + rows, index % width] = True
    return mask


def _without(part: nn.LayerNorm | nn.GroupNorm, mask: Tensor, unknown: list[str]) -> Callable[[Tensor], Tensor]:
    """Forward of a normalisation over the channels that the mask marks."""
    original = part.forward

    def forward(x: Tensor) -> Tensor:
        own = original(x)
        everything = torch.ones_like(mask)
        for dim in (1, -1):
            if x.shape[dim] == len(mask) and torch.allclose(_normalize(part, x, everything, dim), own, atol=1e-9):
                return _normalize(part, x, mask, dim)
        unknown.append(type(part).__name__)
        return x

    return forward


def _normalize(part: nn.LayerNorm | nn.GroupNorm, x: Tensor, mask: Tensor, dim: int) -> Tensor:
    """Layer or group normalisation with mean and variance over the channels along `dim` that the mask marks."""
    y = x.movedim(dim, -1)
    shape = y.shape
    if isinstance(part, nn.GroupNorm):  # over the positions and the channels of each group
        y, m = y.reshape(shape[0], -1, part.num_groups, shape[-1] // part.num_groups), mask.view(1, 1, part.num_groups, -1)
        over: tuple[int, ...] = (1, 3)
        count = m.sum(3, keepdim=True) * y.shape[1]
    else:
        m, over, count = mask, (-1,), mask.sum()
    mean = (y * m).sum(over, keepdim=True) / count
    variance = ((y - mean).square() * m).sum(over, keepdim=True) / count
    y = ((y - mean) / (variance + part.eps).sqrt()).reshape(shape)
    weight, bias = part.weight, part.bias
    y = y if weight is None else y * weight
    return (y if bias is None else y + bias).movedim(-1, dim)
