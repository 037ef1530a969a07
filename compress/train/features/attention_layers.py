"""Attention of Hugging Face's encoders, computed again from the outputs of their query, key and value layers.

BERT, RoBERTa, ELECTRA, ALBERT, DistilBERT, MPNet, DeBERTa, DeBERTa-v2 and others with the same child layers. What is read does
not depend on the kernel that the network uses, and the network needs no `output_attentions`. Layers whose attention is
something else than softmax(scores + mask) v, such as rotary positions or windows, are recognised by their numbers, see
`explains_output`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any, Literal

import torch
from torch import Tensor, nn

Projections = dict[str, Tensor]
"""Outputs of the query, key and value layers, (N, heads, L, d) each."""
AttentionTensor = Literal["attention", "scores", "relations"]

NAMES = (("query", "key", "value"), ("q", "k", "v"), ("q_lin", "k_lin", "v_lin"), ("query_proj", "key_proj", "value_proj"))
"""Names of the child layers, by family."""
FUSED = "in_proj"
"""Child layer of DeBERTa for all three, with the biases `q_bias` and `v_bias`."""
AGREES = 1e-4
"""Tolerance of `explains_output`, relative to the largest value."""


def projection_names(layer: nn.Module) -> tuple[str, ...]:
    """Names of the child layers that an attention layer projects by; empty for other layers."""
    children = {name for name, child in layer.named_children() if isinstance(child, nn.Linear)}
    for names in NAMES:
        if children.issuperset(names):
            return names
    return (FUSED,) if FUSED in children and hasattr(layer, "q_bias") and hasattr(layer, "v_bias") else ()


def head_count(layer: nn.Module, width: int) -> int:
    """Number of heads of an attention layer whose query has this width; 0 if it is unknown."""
    size = getattr(layer, "attention_head_size", None)
    if isinstance(size, int) and size > 0 and width % size == 0:
        return width // size
    for name in ("num_attention_heads", "n_heads", "num_heads"):
        heads = getattr(layer, name, None)
        if isinstance(heads, int) and heads > 0 and width % heads == 0:
            return heads
    return 0


class AttentionCall:
    """One forward pass of an attention layer.

    Args:
        layer: The attention layer, see `projection_names`.
        arguments: Arguments of its forward pass, by name.
    """

    def __init__(self, layer: nn.Module, arguments: Mapping[str, object]) -> None:
        self.layer, self.arguments = layer, arguments
        self.outputs: dict[str, Tensor] = {}

    def add(self, name: str, output: object) -> None:
        """Keep the first output of a child layer: DeBERTa projects its relative positions by the same layers afterwards."""
        if isinstance(output, Tensor):
            self.outputs.setdefault(name, output)

    def projections(self) -> Projections:
        """Query, key and value by head."""
        names = projection_names(self.layer)
        if names == (FUSED,):
            return self._fused()
        return {part: self._by_head(self.outputs[name]) for part, name in zip(("query", "key", "value"), names, strict=True)}

    def scores(self) -> Tensor:
        """Scores before mask and softmax, (N, heads, L, L).

        q kᵀ / √d for BERT, RoBERTa, ELECTRA, ALBERT and DistilBERT; q kᵀ / √d + b for MPNet, b a learned bias of the distance;
        (q kᵀ + q rᵀ + k sᵀ) / √(3d) for DeBERTa, r and s projected distances.
        """
        projections, layer = self.projections(), self.layer
        query, key = projections["query"], projections["key"]
        if hasattr(layer, "pos_att_type"):
            return self._disentangled(query, key)
        scale = getattr(layer, "scaling", None)
        scores = query @ key.transpose(2, 3) * (scale if isinstance(scale, float) else query.shape[-1] ** -0.5)
        bias = self.arguments.get("position_bias")
        return scores + bias if isinstance(bias, Tensor) else scores

    def probabilities(self) -> Tensor:
        """Attention as the network uses it, (N, heads, L, L), but for dropout: softmax of the masked scores."""
        scores, mask = self.scores(), self.arguments.get("attention_mask")
        if isinstance(mask, Tensor):
            mask = mask[:, None, None, :] if mask.ndim == 2 else mask
            is_keep_mask = mask.ndim == 4 and (not mask.is_floating_point() or hasattr(self.layer, "pos_att_type"))
            hidden = torch.finfo(scores.dtype).min
            scores = scores.masked_fill(~mask.bool(), hidden) if is_keep_mask else scores + mask
        return scores.softmax(dim=-1)

    def relations(self) -> Tensor:
        """Query, key and value in one tensor, (N, 3, heads, L, d)."""
        projections = self.projections()
        return torch.stack([projections["query"], projections["key"], projections["value"]], dim=1)

    def context(self) -> Tensor:
        """Attention times value, heads side by side, (N, L, heads · d)."""
        return (self.probabilities() @ self.projections()["value"]).transpose(1, 2).flatten(2)

    def read(self, kind: AttentionTensor) -> Tensor:
        """One of the tensors above."""
        if kind == "relations":
            return self.relations()
        return self.scores() if kind == "scores" else self.probabilities()

    def _by_head(self, projected: Tensor) -> Tensor:
        heads = head_count(self.layer, projected.shape[-1])
        return _split(projected, heads).transpose(1, 2)

    def _fused(self) -> Projections:
        layer: Any = self.layer
        heads = layer.num_attention_heads
        query, key, value = _split(self.outputs[FUSED], heads).transpose(1, 2).chunk(3, dim=-1)
        q_bias, v_bias = (_split(bias, heads)[:, None] for bias in (layer.q_bias, layer.v_bias))
        return {"query": query + q_bias, "key": key, "value": value + v_bias}

    def _disentangled(self, query: Tensor, key: Tensor) -> Tensor:
        layer: Any = self.layer
        is_fused = hasattr(layer, "in_proj")
        kinds = ("c2p", "p2c") if not is_fused else tuple(layer.pos_att_type)
        factor = 1 + sum(kind in layer.pos_att_type for kind in kinds)
        query = query / (query.shape[-1] * factor) ** 0.5 if is_fused else query
        scores = query @ key.transpose(2, 3)
        if not is_fused:
            scores = scores / (query.shape[-1] * factor) ** 0.5
        positions, distances = self.arguments.get("relative_pos"), self.arguments.get("rel_embeddings")
        if not layer.relative_attention or not isinstance(distances, Tensor):
            return scores
        if is_fused:
            bias: Tensor = layer.disentangled_att_bias(query, key, positions, distances, factor)
            return scores + bias
        flat = (values.flatten(0, 1) for values in (query, key))
        bias = layer.disentangled_attention_bias(*flat, positions, distances, factor)
        return scores + bias.view_as(scores)


def _split(values: Tensor, heads: int) -> Tensor:
    """The last axis as two, (heads, d)."""
    return values.reshape(*values.shape[:-1], heads, values.shape[-1] // heads)


def watch(layer: nn.Module, finish: Callable[[AttentionCall], None], undo: ExitStack) -> None:
    """Call `finish` after each forward pass of an attention layer.

    Args:
        layer: The attention layer.
        finish: Receives the pass.
        undo: Receives what removes the hooks.
    """
    signature = inspect.signature(layer.forward)
    calls: list[AttentionCall] = []

    def start(_: nn.Module, args: tuple[object, ...], kwargs: dict[str, object]) -> None:
        bound = signature.bind_partial(*args, **kwargs).arguments
        calls[:] = [AttentionCall(layer, {**bound, **bound.get("kwargs", {})})]

    def end(_: nn.Module, __: object, ___: object) -> None:
        if calls:
            finish(calls.pop())

    def keep(name: str) -> Callable[[nn.Module, object, object], None]:
        return lambda _, __, output: calls[0].add(name, output) if calls else None

    for name in projection_names(layer):
        undo.callback(layer.get_submodule(name).register_forward_hook(keep(name)).remove)
    undo.callback(layer.register_forward_pre_hook(start, with_kwargs=True).remove)
    undo.callback(layer.register_forward_hook(end).remove)


def explains_output(layer: nn.Module, run: Callable[[], object]) -> bool:
    """Whether softmax(scores + mask) v is what an attention layer computes: it is its output, or the input of a child layer.

    Args:
        layer: The attention layer, in eval mode.
        run: Runs the network once.
    """
    contexts: list[Tensor] = []
    seen: list[Tensor] = []

    def keep(values: object) -> None:
        first = values[0] if isinstance(values, tuple) and values else values
        if isinstance(first, Tensor):
            seen.append(first)

    with ExitStack() as undo, torch.no_grad():
        watch(layer, lambda call: contexts.append(call.context()), undo)
        undo.callback(layer.register_forward_hook(lambda _, __, output: keep(output)).remove)
        for child in layer.children():
            undo.callback(child.register_forward_pre_hook(lambda _, args: keep(args)).remove)
        try:
            run()
        except (RuntimeError, KeyError, ValueError, TypeError, AttributeError):
            return False  # of another shape, or with other arguments
    if not contexts:
        return False
    context = contexts[-1]
    limit = AGREES * float(context.abs().max())
    return any(values.shape == context.shape and float((values - context).abs().max()) <= limit for values in seen)
