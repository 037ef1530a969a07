"""Attention heads: a head goes whole, with its queries, keys, values and its part of the output projection.

Michel et al. 2019, "Are Sixteen Heads Really Better than One?", arXiv:1905.10650. torch-pruning removes heads only with the
width of the whole network, because torch's modules tie the two; `models.narrow` unties them.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from compress.models.narrow import adapt, is_windowed
from compress.prune.importance import Importance
from compress.record import InputSpec

_TOLERANCE = 1e-9
_PER_HEAD = {"relative_position_bias_table": 1, "logit_scale": 0, "cpb_mlp.2.weight": 0}
"""Parameters of window attention that hold one entry for each head, and along which dimension."""


def attentions(module: nn.Module) -> dict[str, nn.Module]:
    """Self-attention modules with several heads by name."""
    return {name: part for name, part in module.named_modules() if name and _is_attention(part) and _count(part) > 1}


def _is_attention(part: nn.Module) -> bool:
    if isinstance(part, nn.MultiheadAttention):
        return part.in_proj_weight is not None and part.bias_k is None and part.in_proj_weight.numel() > 0
    return is_windowed(part) and part.get_parameter("qkv.weight").numel() > 0


def _count(part: nn.Module) -> int:
    return int(part.num_heads)  # type: ignore[arg-type]  # a plain number of both classes


def counts(module: nn.Module) -> dict[str, int]:
    """Heads of each attention module."""
    return {name: _count(part) for name, part in attentions(module).items()}


def smaller(heads: int, initial: int, max_ratio: float) -> tuple[int, ...]:
    """The smaller numbers of heads that may be left, descending; at least one stays."""
    return tuple(range(heads - 1, max(1, math.ceil(initial * (1 - max_ratio) - 1e-9)) - 1, -1))


def scores(module: nn.Module, name: str, importance: Importance) -> Tensor | None:
    """Sum of the scores of each head's weights, divided by their mean, (heads,); None if the importance scores no weights."""
    part = module.get_submodule(name)
    inner, outer = _names(part)
    try:
        first, last = (importance.weights(f"{name}.{key}", part.get_parameter(key)).detach().double() for key in (inner, outer))
    except (TypeError, ValueError):  # an importance of channels alone, or of layers that are called
        return None
    heads = _count(part)
    found = torch.unflatten(first, 0, (3, heads, -1)).sum((0, 2, 3)) + torch.unflatten(last, 1, (heads, -1)).sum((0, 2))
    return (found / found.mean().clamp(min=1e-30)).float()


def _names(part: nn.Module) -> tuple[str, str]:
    return ("in_proj_weight", "out_proj.weight") if isinstance(part, nn.MultiheadAttention) else ("qkv.weight", "proj.weight")


@torch.no_grad()
def remove(module: nn.Module, name: str, gone: Sequence[int]) -> None:
    """Take heads out in place.

    Args:
        module: The network.
        name: Of the attention module.
        gone: Heads by number, fewer than there are.

    Raises:
        ValueError: None would be left.
    """
    part = module.get_submodule(name)
    heads = _count(part)
    stay = torch.tensor([head for head in range(heads) if head not in set(gone)])
    if not len(stay):
        msg = f"{name} has {heads} heads, and all would go"
        raise ValueError(msg)
    inner, outer = _names(part)
    for key in (inner, inner.replace("weight", "bias")):
        owner, _, leaf = key.rpartition(".")
        if getattr(part.get_submodule(owner), leaf, None) is not None:
            value = part.get_parameter(key)
            _set(part, key, torch.unflatten(value, 0, (3, heads, -1)).index_select(1, stay).flatten(0, 2))
    _set(part, outer, torch.unflatten(part.get_parameter(outer), 1, (heads, -1)).index_select(1, stay).flatten(1, 2))
    if is_windowed(part):
        _trim_windowed(part, stay)
    else:
        part._qkv_same_embed_dim = False  # type: ignore[assignment]  # keeps torch's fused encoder layer away
    part.num_heads = len(stay)  # type: ignore[assignment]
    _set_widths(part)
    adapt(module)


def _trim_windowed(part: nn.Module, stay: Tensor) -> None:
    """Entries that window attention holds for each head."""
    own = dict(part.named_parameters())
    for key, dim in _PER_HEAD.items():
        if key in own:
            _set(part, key, own[key].index_select(dim, stay))


def _set(part: nn.Module, key: str, value: Tensor) -> None:
    owner, _, leaf = key.rpartition(".")
    before = part.get_parameter(key)
    setattr(part.get_submodule(owner), leaf, nn.Parameter(value.clone(), requires_grad=before.requires_grad))


def _set_widths(part: nn.Module) -> None:
    """Plain numbers of the linear layers inside."""
    for child in part.modules():
        if isinstance(child, nn.Linear):
            child.out_features, child.in_features = child.weight.shape


def unfit(module: nn.Module, spec: InputSpec, names: Sequence[str]) -> dict[str, str]:
    """Attention modules whose heads cannot go, with the reason.

    Without its first head each must compute what it does with that head's output at zero, in float64.
    """
    found: dict[str, str] = {}
    net = copy.deepcopy(module).double().eval()
    x = torch.randn(2, *spec.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for name in names:
        muted, small = copy.deepcopy(net), copy.deepcopy(net)
        part = muted.get_submodule(name)
        weight = part.get_parameter(_names(part)[1])
        with torch.no_grad():
            weight[:, : weight.shape[1] // _count(part)] = 0
            remove(small, name, [0])
            try:
                wrong = float((muted(x) - small(x)).abs().max())
            except Exception as error:  # whatever the user's network says to fewer heads
                found[name] = f"with fewer heads the network does not run ({type(error).__name__}: {error})".splitlines()[0]
                continue
        if not wrong <= _TOLERANCE:
            found[name] = f"removing a head is not the same as muting it (outputs differ by {wrong:.1e})"
    return found


def rows(before: nn.Module, after: nn.Module) -> list[dict[str, Any]]:
    """Heads of each attention module, in the form of the table of layers."""
    left = counts_of(after, tuple(counts(before)))
    return [
        {"layer": f"{name} (heads)", "out_before": heads, "out_after": left[name], "in_before": heads, "in_after": heads}
        for name, heads in counts(before).items()
    ]


def counts_of(module: nn.Module, names: Sequence[str]) -> dict[str, int]:
    """Heads of attention modules, whether several or one."""
    return {name: _count(module.get_submodule(name)) for name in names}
