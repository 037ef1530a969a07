"""Removal of whole attention heads: queries, keys, values and the head's part of the output projection.

Michel et al. 2019, "Are Sixteen Heads Really Better than One?", arXiv:1905.10650. torch's modules require that the width of all
heads equals the width of the network; `models.pruned_attention` computes without this restriction. Modules of Hugging Face and
timm compute with as many heads as their projections contain. The removal is tested for every module before it is used.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.network_spec import NetworkSpec
from compress.models.pruned_attention import POSITIONED, restore_pruned_forwards
from compress.prune.criteria import Importance
from compress.prune.structured.tolerant_graph import first_line
from compress.tasks.flat_outputs import run_flat

_TOLERANCE = 1e-9
_PER_HEAD = (("relative_position_bias_table", 1), ("logit_scale", 0), ("cpb_mlp.2.weight", 0))
"""Parameters of window attention with one entry for each head, and the dimension of these entries."""
_JOINT = (("qkv", "proj"), ("to_qkv", "merge"))
"""Names of the joint projection to queries, keys and values, and of the output projection."""
_SEPARATE = (
    (("q_proj", "k_proj", "v_proj"), "o_proj"),
    (("q_proj", "k_proj", "v_proj"), "out_proj"),
    (("q_lin", "k_lin", "v_lin"), "out_lin"),
    (("query", "key", "value"), "out"),
    (("self.query", "self.key", "self.value"), "output.dense"),
    (("attention.query", "attention.key", "attention.value"), "output.dense"),
)
"""Names of the three projections and of the output projection in the encoders of Hugging Face."""
_COUNTS = ("num_heads", "n_heads", "num_attention_heads")
"""Attributes with the number of heads."""
_WIDTHS = ("all_head_size", "attn_dim")
"""Attributes with the total width of all heads."""


@dataclass(frozen=True)
class HeadLayout:
    """Position of the heads in the parameters of an attention module.

    Attributes:
        owner: Submodule with the number of heads, and the name of the attribute.
        inner: Weights whose rows belong to heads, each with its number of parts (3: queries, keys, values).
        outer: Weight whose columns belong to heads.
    """

    owner: tuple[str, str]
    inner: tuple[tuple[str, int], ...]
    outer: str

    def count(self, part: nn.Module) -> int:
        """Current number of heads."""
        return int(getattr(part.get_submodule(self.owner[0]), self.owner[1]))

    def parameters(self, part: nn.Module) -> list[tuple[str, int, int]]:
        """Every parameter with entries for heads: its name, the dimension of the heads, and its number of parts."""
        names = dict(part.named_parameters())
        biases = [(key.replace("weight", "bias"), times) for key, times in self.inner]
        inner = [(key, 0, times) for key, times in (*self.inner, *biases) if key in names]
        per_head = [(key, dim, 1) for key, dim in _PER_HEAD if key in names] if isinstance(part, POSITIONED) else []
        return [*inner, (self.outer, 1, 1), *per_head]


def layout_of(part: nn.Module) -> HeadLayout | None:
    """The layout of the heads of a module; None where it is no self-attention whose heads can be removed."""
    if isinstance(part, nn.MultiheadAttention):
        fits = part.in_proj_weight is not None and part.bias_k is None and part.in_proj_weight.numel() > 0
        return HeadLayout(("", "num_heads"), (("in_proj_weight", 3),), "out_proj.weight") if fits else None
    for joint, last in _JOINT:
        if layout := _layout_with_names(part, (joint,), last, times=3):
            return layout
    return next((layout for names, last in _SEPARATE if (layout := _layout_with_names(part, names, last, times=1))), None)


def _layout_with_names(part: nn.Module, names: Sequence[str], last: str, *, times: int) -> HeadLayout | None:
    """The layout with these names, if the module has them and its shapes agree."""
    layers = {name: child for name in (*names, last) if isinstance(child := _submodule(part, name), nn.Linear)}
    if len(layers) <= len(names) or not layers[last].weight.numel():
        return None
    owner = names[0].rpartition(".")[0]
    attribute = next((key for key in _COUNTS if isinstance(getattr(part.get_submodule(owner), key, None), int)), None)
    width = layers[last].weight.shape[1]
    if attribute is None or any(len(layers[name].weight) != times * width for name in names):
        return None
    layout = HeadLayout((owner, attribute), tuple((f"{name}.weight", times) for name in names), f"{last}.weight")
    return layout if layout.count(part) > 0 and width % layout.count(part) == 0 else None


def _submodule(part: nn.Module, path: str) -> nn.Module | None:
    """The submodule with this path, or None."""
    try:
        return part.get_submodule(path)
    except AttributeError:
        return None


def attentions(module: nn.Module) -> dict[str, HeadLayout]:
    """Layouts of the self-attention modules with several heads, by name."""
    layouts = {name: layout for name, part in module.named_modules() if name and (layout := layout_of(part))}
    return {name: layout for name, layout in layouts.items() if layout.count(module.get_submodule(name)) > 1}


def count_heads(module: nn.Module) -> dict[str, int]:
    """Number of heads of each attention module with several heads."""
    return {name: layout.count(module.get_submodule(name)) for name, layout in attentions(module).items()}


def projections(module: nn.Module) -> frozenset[str]:
    """Names of the linear layers whose outputs are heads, which the dependency graph cannot follow."""
    return frozenset(
        f"{name}.{key.rpartition('.')[0]}"
        for name, layout in attentions(module).items()
        for key, _ in layout.inner
        if "." in key
    )


def allowed_head_counts(heads: int, initial: int, max_ratio: float) -> tuple[int, ...]:
    """Smaller numbers of heads that are allowed, descending; at least 1.

    Args:
        heads: Current number.
        initial: Number before any pruning.
        max_ratio: Largest fraction of `initial` to remove.
    """
    return tuple(range(heads - 1, max(1, math.ceil(initial * (1 - max_ratio) - 1e-9)) - 1, -1))


def head_scores(module: nn.Module, name: str, importance: Importance) -> Tensor | None:
    """Scores (heads,); None if the importance scores neither gates nor weights.

    If the importance has gates, the score of a head is from the gates at the input of the output projection. Otherwise it is
    the sum over the weights of the head: averaged over the layers for changes of the loss, as for channels; divided by the
    mean over the heads for other importances.
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
    except (TypeError, ValueError):  # the importance scores only channels, or has no scores for layers that are not called
        return None
    if importance.loss_change:
        return (scores / (1 + len(layout.inner))).float()
    return (scores / scores.mean().clamp(min=1e-30)).float()


def _known(part: nn.Module, name: str) -> HeadLayout:
    layout = layout_of(part)
    if layout is None:
        msg = gettext(
            "{name} ({kind}) is not an attention module with a known layout of heads", name=name, kind=type(part).__name__
        )
        raise TypeError(msg)
    return layout


@torch.no_grad()
def remove_heads(module: nn.Module, name: str, indices: Sequence[int]) -> None:
    """Remove heads in place.

    Args:
        module: The network.
        name: Name of the attention module.
        indices: Heads to remove; at least one head must remain.

    Raises:
        ValueError: No head would remain.
    """
    part = module.get_submodule(name)
    layout = _known(part, name)
    heads = layout.count(part)
    remaining = torch.tensor([head for head in range(heads) if head not in set(indices)])
    if not len(remaining):
        msg = gettext("{name} has {heads} heads, and all would be removed; keep at least one", name=name, heads=heads)
        raise ValueError(msg)
    width = part.get_parameter(layout.outer).shape[1]
    for key, dim, times in layout.parameters(part):
        value = torch.unflatten(part.get_parameter(key), dim, (times, heads, -1)).index_select(dim + 1, remaining)
        _set_parameter(part, key, value.flatten(dim, dim + 2))
    if isinstance(part, nn.MultiheadAttention):
        part._qkv_same_embed_dim = False  # so that torch's encoder layer does not use its fused kernel
    _update_attributes(part, layout, len(remaining), width)
    restore_pruned_forwards(module)


def _set_parameter(part: nn.Module, key: str, value: Tensor) -> None:
    owner, _, leaf = key.rpartition(".")
    before = part.get_parameter(key)
    setattr(part.get_submodule(owner), leaf, nn.Parameter(value.clone(), requires_grad=before.requires_grad))


def _update_attributes(part: nn.Module, layout: HeadLayout, heads: int, width: int) -> None:
    """Set the numbers of heads and the widths of a module and its linear layers; `width` is the former total width."""
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
    """Attention modules whose heads cannot be removed, with the reason; a set of modules that fails is halved.

    Without their first heads, the modules must compute the same as with the outputs of these heads set to zero, in float64.
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
    """Why the first heads of these modules cannot be removed; None when the outputs agree."""
    muted, small = copy.deepcopy(net), copy.deepcopy(net)
    for name in names:
        part = muted.get_submodule(name)
        layout = _known(part, name)
        weight = part.get_parameter(layout.outer)
        weight[:, : weight.shape[1] // layout.count(part)] = 0
    try:
        for name in names:
            remove_heads(small, name, [0])
        difference = float((run_flat(muted, x) - run_flat(small, x)).abs().max())
    except Exception as error:  # any error of the user's network with fewer heads
        return Fact.of("prune.fails_with_fewer_heads", error=first_line(error))
    if not difference <= _TOLERANCE:  # also true for NaN
        return Fact.of("prune.heads_not_equivalent", difference=difference)
    return None


def head_rows(before: nn.Module, after: nn.Module) -> list[dict[str, object]]:
    """Rows of the table of layers with the heads of each attention module."""
    heads_after = count_heads_of(after, tuple(count_heads(before)))
    return [
        {"layer": f"{name} (heads)", "out_before": heads, "out_after": heads_after[name], "in_before": heads, "in_after": heads}
        for name, heads in count_heads(before).items()
    ]


def count_heads_of(module: nn.Module, names: Sequence[str]) -> dict[str, int]:
    """Number of heads of the named attention modules, also of those with a single head."""
    parts = {name: module.get_submodule(name) for name in names}
    return {name: _known(part, name).count(part) for name, part in parts.items()}
