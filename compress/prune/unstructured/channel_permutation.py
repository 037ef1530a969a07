"""Permutation of input channels that reduces the loss of an N:M pattern and does not change the function of the network.

Pool & Yu 2021, "Channel Permutations for N:M Sparsity", NeurIPS 34 (greedy channel swaps). The inputs of a layer are outputs of
the layers before it, so all tensors of a group of coupled channels are permuted together, by the graph of torch-pruning.
Every permutation is tested, and undone where the outputs change.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from compress.core.fact import Fact
from compress.core.network_spec import NetworkSpec
from compress.prune.graph_types import Dependency
from compress.prune.structured import dependency_graph as groups
from compress.prune.structured.tolerant_graph import LAYERS, build_graph
from compress.tasks.flat_outputs import run_flat

_ROWS = 512
_SWEEPS = 10
_TOLERANCE = 1e-3
_PER_CHANNEL = ("weight", "bias", "running_mean", "running_var")


def retained_magnitude(s: Tensor, n: int, m: int) -> float:
    """Sum of the scores that N:M keeps of a matrix s, (rows, columns)."""
    return float(torch.unflatten(s, 1, (-1, m)).double().topk(n, dim=-1).values.sum())


def search_permutation(s: Tensor, n: int, m: int) -> Tensor:
    """Permutation of the columns of a score matrix that retains at least as much under N:M as the original order.

    All pairs of stripes of M columns are visited in rounds; each pair swaps the two columns with the largest gain. When column
    x replaces column i, a row of a stripe retains b_i + max(e_i, x): b_i is the sum of the N − 1 largest of the other columns,
    e_i the N-th largest.

    Args:
        s: Scores ≥ 0, (rows, columns), with columns a multiple of M. Of more than 512 rows an evenly spaced sample is used.
        n: N, weights to keep of every M.
        m: M, columns of a stripe.

    Returns:
        Permutation p, (columns,): column k of the new order is column p_k of the old order.
    """
    columns = s.shape[1]
    order = torch.arange(columns)
    if columns == m:
        return order
    sample = s[torch.linspace(0, len(s) - 1, min(len(s), _ROWS)).long()].float()
    for _ in range(_SWEEPS):
        gains = [_swap(sample, order, pairs, n, m) for pairs in _pair_rounds(columns // m)]
        if not any(gains):
            break
    return order if retained_magnitude(s[:, order], n, m) > retained_magnitude(s, n, m) else torch.arange(columns)


def _pair_rounds(stripes: int) -> Iterator[Tensor]:
    """Rounds of pairs (P, 2) in which every two stripes are paired once (circle method)."""
    ring = list(range(stripes)) + ([-1] if stripes % 2 else [])
    for _ in range(len(ring) - 1):
        pairs = [(ring[k], ring[-1 - k]) for k in range(len(ring) // 2)]
        yield torch.tensor([pair for pair in pairs if -1 not in pair])
        ring = [ring[0], ring[-1], *ring[1:-1]]


def _swap(s: Tensor, order: Tensor, pairs: Tensor, n: int, m: int) -> bool:
    """Swap the best two columns of each pair of stripes, in place in `order`; True if any pair gained."""
    positions = pairs.unsqueeze(-1) * m + torch.arange(m)
    a, b = (s[:, order[positions[:, side]]].movedim(0, 1) for side in (0, 1))
    now = _retained(a, n) + _retained(b, n)
    swapped = _retained_after_swap(a, b, n) + _retained_after_swap(b, a, n).transpose(1, 2)
    gain, best = (swapped - now[:, None, None]).flatten(1).max(1)
    better = gain > 1e-6 * now
    i, j = best // m, best % m
    rows = torch.arange(len(pairs))
    first, second = positions[rows, 0, i][better], positions[rows, 1, j][better]
    order[first], order[second] = order[second], order[first]
    return bool(better.any())


def _retained(a: Tensor, n: int) -> Tensor:
    """Sum that stripes (P, rows, M) retain, (P,)."""
    return a.topk(n, dim=-1).values.sum((1, 2))


def _retained_after_swap(a: Tensor, b: Tensor, n: int) -> Tensor:
    """Sum that stripe a retains when column j of b replaces its column i, (P, M, M)."""
    m = a.shape[-1]
    others = torch.stack([a[..., [k for k in range(m) if k != i]] for i in range(m)], dim=2)
    top = others.topk(n, dim=-1).values
    base, edge = top[..., :-1].sum(-1), top[..., -1]
    return torch.stack([(base + torch.maximum(edge, b[..., j : j + 1])).sum(1) for j in range(m)], dim=-1)


@dataclass(frozen=True, eq=False)
class _Part:
    """A tensor whose entries from `start` along `dim` are the channels of a group, in order."""

    tensor: Tensor
    dim: int
    start: int
    name: str = ""


def permute_channels(
    module: nn.Module, spec: NetworkSpec, scores: Mapping[str, Tensor], n: int, m: int
) -> tuple[float, dict[str, Tensor], tuple[Fact, ...]]:
    """Permute all groups of coupled channels that are inputs of layers with scores, in place.

    Args:
        module: In eval mode. Its function does not change, up to rounding.
        spec: Its input.
        scores: By parameter name, (out, in, kernel…).
        n: N, weights to keep of every M.
        m: M, adjacent inputs.

    Returns:
        Relative gain of the sum of scores that the pattern retains; the scores in the new order; a fact about the groups that
        are not permuted.
    """
    owners = {id(module.get_parameter(name)): name for name in scores}
    permuted = {name: s.clone() for name, s in scores.items()}
    before = sum(retained_magnitude(_matrix(s), n, m) for s in permuted.values())
    x = tuple(spec.signature.example(2).values())
    with torch.no_grad():
        expected = run_flat(module, x)
    skipped = 0
    for group in groups.find_groups(build_graph(module, spec), module):
        parts = _parts(group, owners)
        readers = [part for part in parts or () if part.name in permuted and part.dim == 1]
        if parts is None or any(part.start % m for part in readers) or group.width % m:
            skipped += 1
        elif readers:
            order = search_permutation(
                torch.cat([_matrix(permuted[p.name].narrow(1, p.start, group.width)) for p in readers]), n, m
            )
            _apply(parts, order)
            with torch.no_grad():
                difference = float((run_flat(module, x) - expected).norm())
            if difference > _TOLERANCE * float(expected.norm()):
                _apply(parts, order.argsort())
                skipped += 1
            else:
                _apply([_Part(permuted[p.name], p.dim, p.start) for p in parts if p.name in permuted], order)
    gain = sum(retained_magnitude(_matrix(s), n, m) for s in permuted.values()) / max(before, 1e-12) - 1
    return gain, permuted, (Fact.of("prune.channels_not_permuted", groups=skipped),) if skipped else ()


def _matrix(s: Tensor) -> Tensor:
    """(out, in, kernel…) → (out · kernel, in)."""
    return s.detach().movedim(1, -1).flatten(0, -2)


@torch.no_grad()
def _apply(parts: Sequence[_Part], order: Tensor) -> None:
    for part in parts:
        channels = part.tensor.narrow(part.dim, part.start, len(order))
        channels.copy_(channels.index_select(part.dim, order))


def _parts(group: groups.ChannelGroup, owners: Mapping[int, str]) -> list[_Part] | None:
    """Every tensor with channels of a group; None where they cannot be permuted."""
    if group.fixed_reason or group.repeats > 1 or group.tp_group is None:
        return None
    parts: dict[tuple[int, int, int], _Part] = {}
    for member in group.tp_group:
        dep, indices = member.dep, member.idxs
        target, start = dep.target.module, indices[0]
        is_contiguous = [int(index) for index in indices] == list(range(start, start + group.width))
        tensors = list(_tensors(target, dep))
        is_unknown = not tensors and isinstance(target, (nn.MultiheadAttention, nn.GroupNorm, nn.PReLU))
        if is_unknown or (tensors and not is_contiguous):
            return None
        for tensor, dim in tensors:
            parts[id(tensor), dim, start] = _Part(tensor, dim, start, owners.get(id(tensor), ""))
    return list(parts.values())


def _tensors(target: nn.Module | nn.Parameter, dep: Dependency) -> Iterator[tuple[Tensor, int]]:
    """Tensors of one member of a group, with the dimension of its channels."""
    if isinstance(target, nn.Parameter):
        yield target, dep.target.pruning_dim
    elif isinstance(target, LAYERS):
        depthwise = getattr(target, "groups", 1) > 1
        out = depthwise or "out" in dep.handler.__name__
        transposed = bool(getattr(target, "transposed", False))
        yield target.weight, 0 if depthwise else int(out == transposed)
        if out and target.bias is not None:
            yield target.bias, 0
    elif isinstance(target, (nn.modules.batchnorm._BatchNorm, nn.LayerNorm)):
        yield from ((value, 0) for name in _PER_CHANNEL if (value := getattr(target, name, None)) is not None)
