"""Removal of whole attention heads: queries, keys, values and the head's part of the output projection.

Of attention whose queries share keys and values, a head is a whole key–value group; single queries: see `query_heads`.

Michel et al. 2019, "Are Sixteen Heads Really Better than One?", arXiv:1905.10650. torch's modules require that the width of all
heads equals the width of the network; `models.pruned_attention` computes without this restriction. Modules of Hugging Face and
timm compute with as many heads as their projections contain. The removal is tested for every module before it is used.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.network_spec import NetworkSpec
from compress.models.pruned_attention import restore_pruned_forwards
from compress.prune.criteria import Importance
from compress.prune.structured.equivalence_inputs import trial_inputs
from compress.prune.structured.head_layouts import SHARED_BIAS, HeadLayout, count_heads, count_queries, layout_of
from compress.prune.structured.query_heads import first_queries, mute_first_queries, query_rows, remove_queries
from compress.prune.structured.rms_norm import run_exactly
from compress.prune.structured.tolerant_graph import first_line
from compress.tasks.flat_outputs import run_flat

_TOLERANCE = 1e-9
_WIDTHS = ("all_head_size", "attn_dim", "split_size")
"""Attributes with the total width of all heads."""


def head_scores(module: nn.Module, name: str, importance: Importance) -> Tensor | None:
    """Scores (heads,); None if the importance scores neither gates nor inputs nor weights.

    If the importance has gates, the score of a head is from the gates at the inputs of the output projections; if it has
    scores of inputs, it is their norm over the inputs from the head, divided by the mean over the heads. Otherwise it is the
    sum over the weights of the head: averaged over the layers for changes of the loss, as for channels; divided by the mean
    over the heads for other importances.
    """
    part = module.get_submodule(name)
    layout = _known(part, name)
    scores = torch.zeros(layout.count(part), dtype=torch.float64)
    if importance.gates is not None:
        gates = sum(importance.gates(f"{name}.{_layer(key)}") for key in layout.outer)
        return torch.unflatten(torch.as_tensor(gates), 1, (len(scores), -1)).sum(2).square().sum(0)
    if importance.inputs is not None:
        squares = sum(importance.inputs(f"{name}.{_layer(key)}").square() for key in layout.outer)
        norms = torch.unflatten(torch.as_tensor(squares), 0, (len(scores), -1)).sum(1).sqrt()
        return (norms / norms.mean().clamp(min=1e-30)).float()
    weights = [*((key, 1, 1) for key in layout.outer), *((key, 0, times) for key, times in layout.inner)]
    try:
        for key, dim, times in weights:
            values = importance.weights(f"{name}.{key}", part.get_parameter(key)).detach().double().transpose(0, dim)
            scores += torch.unflatten(values, 0, (times, len(scores), -1)).sum((0, 2, 3)).cpu()
    except (TypeError, ValueError):  # the importance scores only channels, or has no scores for layers that are not called
        return None
    if importance.loss_change:
        return (scores / len(weights)).float()
    return (scores / scores.mean().clamp(min=1e-30)).float()


def coupled_layers(module: nn.Module, name: str) -> tuple[tuple[str, Literal["out", "in"], float], ...]:
    """(layer, side, number of its channels that are removed with one head) for every layer of an attention module.

    The module that computes the products of queries, keys and values is one of these layers; its channels are its heads.
    """
    part = module.get_submodule(name)
    layout = _known(part, name)
    heads = layout.count(part)
    coupled: list[tuple[str, Literal["out", "in"], float]] = [
        (f"{name}.{owner}".strip("."), "out", float(layout.queries(part))) for owner, _ in layout.owners
    ]
    if isinstance(part, nn.MultiheadAttention):  # it computes with the weights of its layers
        return tuple(coupled)
    for layer in layout.projections():
        rows = part.get_parameter(f"{layer}.weight")
        coupled.append((f"{name}.{layer}", "out", (rows.shape[1] if layer == SHARED_BIAS else len(rows)) / heads))
    coupled += [(f"{name}.{_layer(key)}", "in", part.get_parameter(key).shape[1] / heads) for key in layout.outer]
    return tuple(coupled)


def _layer(key: str) -> str:
    """The layer of a parameter."""
    return key.rpartition(".")[0]


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
    width = part.get_parameter(layout.outer[0]).shape[1]
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
    remaining = part.get_parameter(layout.outer[0]).shape[1]
    for path, attribute in layout.owners:
        owner = part.get_submodule(path)
        if attribute:
            setattr(owner, attribute, heads)
        for key in _WIDTHS:
            if getattr(owner, key, None) == width:
                setattr(owner, key, remaining)
    for child in part.modules():
        if isinstance(child, nn.Linear):
            child.out_features, child.in_features = child.weight.shape
        elif isinstance(child, nn.Embedding):
            child.num_embeddings, child.embedding_dim = child.weight.shape


def unprunable_heads(module: nn.Module, spec: NetworkSpec, names: Sequence[str]) -> dict[str, Fact]:
    """Attention modules whose heads cannot be removed, with the reason; a set of modules that fails is halved.

    Without their first heads, the modules must compute the same as with the outputs of these heads set to zero, in float64.
    """
    return _trial(module, spec, names, _HEADS)


def unprunable_queries(module: nn.Module, spec: NetworkSpec, names: Sequence[str]) -> dict[str, Fact]:
    """The same for the first query of each key–value group."""
    return _trial(module, spec, names, _QUERIES)


@dataclass(frozen=True)
class _Removal:
    """One way to shrink an attention module: by zeros in the weights that read a part of it, and by removing this part."""

    mute: Callable[[nn.Module, str], None]
    remove: Callable[[nn.Module, str], None]


@torch.no_grad()
def _mute_first_head(module: nn.Module, name: str) -> None:
    part = module.get_submodule(name)
    layout = _known(part, name)
    for weight in map(part.get_parameter, layout.outer):
        weight[:, : weight.shape[1] // layout.count(part)] = 0


_HEADS = _Removal(_mute_first_head, lambda module, name: remove_heads(module, name, [0]))
_QUERIES = _Removal(mute_first_queries, lambda module, name: remove_queries(module, name, first_queries(module, name)))


def _trial(module: nn.Module, spec: NetworkSpec, names: Sequence[str], removal: _Removal) -> dict[str, Fact]:
    net = copy.deepcopy(module).double().eval()
    run_exactly(net)
    return _unprunable(net, trial_inputs(spec.signature), names, removal)


def _unprunable(net: nn.Module, x: tuple[Tensor, ...], names: Sequence[str], removal: _Removal) -> dict[str, Fact]:
    reason = _difference(net, x, names, removal) if names else None
    if reason is None:
        return {}
    if len(names) == 1:
        return {names[0]: reason.model_copy(update={"subject": names[0]})}
    half = len(names) // 2
    return _unprunable(net, x, names[:half], removal) | _unprunable(net, x, names[half:], removal)


@torch.no_grad()
def _difference(net: nn.Module, x: tuple[Tensor, ...], names: Sequence[str], removal: _Removal) -> Fact | None:
    """Why parts of these modules cannot be removed; None when the outputs agree."""
    muted, small = copy.deepcopy(net), copy.deepcopy(net)
    for name in names:
        removal.mute(muted, name)
    try:
        for name in names:
            removal.remove(small, name)
        difference = float((run_flat(muted, x) - run_flat(small, x)).abs().max())
    except Exception as error:  # any error of the user's network with fewer heads
        return Fact.of("prune.fails_with_fewer_heads", error=first_line(error))
    if not difference <= _TOLERANCE:  # also true for NaN
        return Fact.of("prune.heads_not_equivalent", difference=difference)
    return None


def head_rows(before: nn.Module, after: nn.Module) -> list[dict[str, object]]:
    """Rows of the table of layers with the heads of each attention module."""
    heads_after = count_heads_of(after, tuple(count_heads(before)))
    grouped = count_queries(before)
    rows: list[dict[str, object]] = []
    for name, heads in count_heads(before).items():
        kind = "groups" if name in grouped else "heads"
        columns = {"out_before": heads, "out_after": heads_after[name], "in_before": heads, "in_after": heads}
        rows.append({"layer": f"{name} ({kind})", **columns})
    return [*rows, *query_rows(before, after)]


def count_heads_of(module: nn.Module, names: Sequence[str]) -> dict[str, int]:
    """Number of heads of the named attention modules, also of those with a single head."""
    parts = {name: module.get_submodule(name) for name in names}
    return {name: _known(part, name).count(part) for name, part in parts.items()}
