"""Attention heads: a head goes whole, with its queries, keys, values and its part of the output projection.

Michel et al. 2019, "Are Sixteen Heads Really Better than One?", arXiv:1905.10650. torch-pruning removes heads only with the
width of the whole network, because torch's modules tie the two; `models.pruned_attention` computes without that tie. Modules of
Hugging Face and of timm compute with as many heads as their projections hold. Every module is tried out before it is used.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from compress.core.fact import Fact
from compress.core.network_spec import NetworkSpec
from compress.models.pruned_attention import POSITIONED, restore_pruned_forwards
from compress.prune.criteria import Importance
from compress.prune.structured.tolerant_graph import first_line
from compress.tasks.flat_outputs import run_flat

_TOLERANCE = 1e-9
_BESIDE = (("relative_position_bias_table", 1), ("logit_scale", 0), ("cpb_mlp.2.weight", 0))
"""Parameters of window attention that hold one entry for each head, and along which dimension."""
_JOINT = (("qkv", "proj"), ("to_qkv", "merge"))
"""Names of one projection for queries, keys and values, and of the output projection."""
_APART = (
    (("q_proj", "k_proj", "v_proj"), "o_proj"),
    (("q_proj", "k_proj", "v_proj"), "out_proj"),
    (("q_lin", "k_lin", "v_lin"), "out_lin"),
    (("query", "key", "value"), "out"),
    (("self.query", "self.key", "self.value"), "output.dense"),
    (("attention.query", "attention.key", "attention.value"), "output.dense"),
)

"""Names of three projections and of the output projection, as Hugging Face's encoders call them."""
_NUMBERS = ("num_heads", "n_heads", "num_attention_heads")
_WIDTHS = ("all_head_size", "attn_dim")
"""Plain numbers of modules that hold the width of all heads together."""


@dataclass(frozen=True)
class HeadLayout:
    """Where an attention module keeps its heads.

    Attributes:
        owner: The submodule that counts them, and its attribute.
        inner: Weights whose rows are heads, with how many times they follow each other (3: queries, keys, values).
        outer: The weight whose columns are heads.
    """

    owner: tuple[str, str]
    inner: tuple[tuple[str, int], ...]
    outer: str

    def count(self, part: nn.Module) -> int:
        """Heads now."""
        return int(getattr(part.get_submodule(self.owner[0]), self.owner[1]))

    def spread(self, part: nn.Module) -> list[tuple[str, int, int]]:
        """Every parameter that holds heads: its name, along which dimension, and how many times over."""
        own = dict(part.named_parameters())
        biases = [(key.replace("weight", "bias"), times) for key, times in self.inner]
        weights = [(key, 0, times) for key, times in (*self.inner, *biases) if key in own]
        beside = [(key, dim, 1) for key, dim in _BESIDE if key in own] if isinstance(part, POSITIONED) else []
        return [*weights, (self.outer, 1, 1), *beside]


def layout_of(part: nn.Module) -> HeadLayout | None:
    """Where a module keeps its heads; None where it is no self-attention that can lose some."""
    if isinstance(part, nn.MultiheadAttention):
        fits = part.in_proj_weight is not None and part.bias_k is None and part.in_proj_weight.numel() > 0
        return HeadLayout(("", "num_heads"), (("in_proj_weight", 3),), "out_proj.weight") if fits else None
    for joint, last in _JOINT:
        if layout := _matching(part, (joint,), last, times=3):
            return layout
    return next((layout for names, last in _APART if (layout := _matching(part, names, last, times=1))), None)


def _matching(part: nn.Module, names: Sequence[str], last: str, *, times: int) -> HeadLayout | None:
    """The layout with these names, if the module has them and its shapes agree."""
    own = {name: child for name in (*names, last) if isinstance(child := _inside(part, name), nn.Linear)}
    if len(own) <= len(names) or not own[last].weight.numel():
        return None
    inside = names[0].rpartition(".")[0]
    number = next((key for key in _NUMBERS if isinstance(getattr(part.get_submodule(inside), key, None), int)), None)
    width = own[last].weight.shape[1]
    if number is None or any(len(own[name].weight) != times * width for name in names):
        return None
    layout = HeadLayout((inside, number), tuple((f"{name}.weight", times) for name in names), f"{last}.weight")
    return layout if layout.count(part) > 0 and width % layout.count(part) == 0 else None


def _inside(part: nn.Module, path: str) -> nn.Module | None:
    """A submodule, or None where there is none of that name."""
    try:
        return part.get_submodule(path)
    except AttributeError:
        return None


def attentions(module: nn.Module) -> dict[str, HeadLayout]:
    """Self-attention modules with several heads by name."""
    layouts = {name: layout for name, part in module.named_modules() if name and (layout := layout_of(part))}
    return {name: layout for name, layout in layouts.items() if layout.count(module.get_submodule(name)) > 1}


def count_heads(module: nn.Module) -> dict[str, int]:
    """Heads of each attention module."""
    return {name: layout.count(module.get_submodule(name)) for name, layout in attentions(module).items()}


def projections(module: nn.Module) -> frozenset[str]:
    """Names of the linear layers whose outputs are heads; the dependency graph cannot follow these, and need not be tried."""
    return frozenset(
        f"{name}.{key.rpartition('.')[0]}"
        for name, layout in attentions(module).items()
        for key, _ in layout.inner
        if "." in key
    )


def allowed_head_counts(heads: int, initial: int, max_ratio: float) -> tuple[int, ...]:
    """The smaller numbers of heads that may be left, descending; at least one stays."""
    return tuple(range(heads - 1, max(1, math.ceil(initial * (1 - max_ratio) - 1e-9)) - 1, -1))


def head_scores(module: nn.Module, name: str, importance: Importance) -> Tensor | None:
    """Scores (heads,); None if the importance scores neither gates nor weights.

    From gates on what the output projection reads, where the importance has them; else the sum over the head's weights:
    averaged over its layers for changes of the loss, as those of channels are, divided by the heads' mean for others.
    """
    part = module.get_submodule(name)
    layout = _known(part, name)
    scores = torch.zeros(layout.count(part), dtype=torch.float64)
    if importance.gates is not None:
        gates = importance.gates(f"{name}.{layout.outer.rpartition('.')[0]}")
        return torch.unflatten(gates, 1, (len(scores), -1)).sum(2).square().sum(0)
    try:
        for key, dim, times in ((layout.outer, 1, 1), *((key, 0, times) for key, times in layout.inner)):
            values = importance.weights(f"{name}.{key}", part.get_parameter(key)).detach().double().transpose(0, dim)
            scores += torch.unflatten(values, 0, (times, len(scores), -1)).sum((0, 2, 3)).cpu()
    except (TypeError, ValueError):  # an importance of channels alone, or of layers that are called
        return None
    if importance.loss_change:
        return (scores / (1 + len(layout.inner))).float()
    return (scores / scores.mean().clamp(min=1e-30)).float()


def _known(part: nn.Module, name: str) -> HeadLayout:
    layout = layout_of(part)
    if layout is None:
        msg = f"{name} is no attention module whose heads are known"
        raise TypeError(msg)
    return layout


@torch.no_grad()
def remove_heads(module: nn.Module, name: str, gone: Sequence[int]) -> None:
    """Take heads out in place.

    Args:
        module: The network.
        name: Of the attention module.
        gone: Heads by number, fewer than there are.

    Raises:
        ValueError: None would be left.
    """
    part = module.get_submodule(name)
    layout = _known(part, name)
    heads = layout.count(part)
    stay = torch.tensor([head for head in range(heads) if head not in set(gone)])
    if not len(stay):
        msg = f"{name} has {heads} heads, and all would go"
        raise ValueError(msg)
    width = part.get_parameter(layout.outer).shape[1]
    for key, dim, times in layout.spread(part):
        value = torch.unflatten(part.get_parameter(key), dim, (times, heads, -1)).index_select(dim + 1, stay)
        _set(part, key, value.flatten(dim, dim + 2))
    if isinstance(part, nn.MultiheadAttention):
        part._qkv_same_embed_dim = False  # keeps torch's fused encoder layer away
    _set_numbers(part, layout, len(stay), width)
    restore_pruned_forwards(module)


def _set(part: nn.Module, key: str, value: Tensor) -> None:
    owner, _, leaf = key.rpartition(".")
    before = part.get_parameter(key)
    setattr(part.get_submodule(owner), leaf, nn.Parameter(value.clone(), requires_grad=before.requires_grad))


def _set_numbers(part: nn.Module, layout: HeadLayout, heads: int, width: int) -> None:
    """Plain numbers of the module and of the linear layers inside; `width` was that of all heads together."""
    owner = part.get_submodule(layout.owner[0])
    setattr(owner, layout.owner[1], heads)
    remaining = part.get_parameter(layout.outer).shape[1]
    for key in _WIDTHS:
        if getattr(owner, key, None) == width:
            setattr(owner, key, remaining)
    for child in part.modules():
        if isinstance(child, nn.Linear):
            child.out_features, child.in_features = child.weight.shape


def unprunable_heads(module: nn.Module, spec: NetworkSpec, names: Sequence[str]) -> dict[str, Fact]:
    """Attention modules whose heads cannot go, with the reason: found by halving what fails together.

    Without their first heads they must compute what they do with those heads' outputs at zero, in float64.
    """
    net = copy.deepcopy(module).double().eval()
    x = tuple(spec.signature.example(2, dtype=torch.float64).values())
    return _unprunable(net, x, names)


def _unprunable(net: nn.Module, x: tuple[Tensor, ...], names: Sequence[str]) -> dict[str, Fact]:
    reason = _difference(net, x, names) if names else None
    if reason is None:
        return {}
    if len(names) == 1:
        return {names[0]: reason.model_copy(update={"subject": names[0]})}
    half = len(names) // 2
    return _unprunable(net, x, names[:half]) | _unprunable(net, x, names[half:])


@torch.no_grad()
def _difference(net: nn.Module, x: tuple[Tensor, ...], names: Sequence[str]) -> Fact | None:
    """What is wrong when the first head of each of these modules is removed; None when nothing is."""
    muted, small = copy.deepcopy(net), copy.deepcopy(net)
    for name in names:
        part = muted.get_submodule(name)
        layout = _known(part, name)
        weight = part.get_parameter(layout.outer)
        weight[:, : weight.shape[1] // layout.count(part)] = 0
    try:
        for name in names:
            remove_heads(small, name, [0])
        wrong = float((run_flat(muted, x) - run_flat(small, x)).abs().max())
    except Exception as error:  # whatever the user's network says to fewer heads
        return Fact.of("prune.fails_with_fewer_heads", error=first_line(error))
    if not wrong <= _TOLERANCE:
        return Fact.of("prune.heads_not_equivalent", difference=wrong)
    return None


def head_rows(before: nn.Module, after: nn.Module) -> list[dict[str, object]]:
    """Heads of each attention module, in the form of the table of layers."""
    heads_after = count_heads_of(after, tuple(count_heads(before)))
    return [
        {"layer": f"{name} (heads)", "out_before": heads, "out_after": heads_after[name], "in_before": heads, "in_after": heads}
        for name, heads in count_heads(before).items()
    ]


def count_heads_of(module: nn.Module, names: Sequence[str]) -> dict[str, int]:
    """Heads of attention modules, whether several or one."""
    parts = {name: module.get_submodule(name) for name in names}
    return {name: _known(part, name).count(part) for name, part in parts.items()}
