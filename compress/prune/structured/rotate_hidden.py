"""Rotate the hidden vectors of a decoder of Llama's shape to their principal components, and keep the first ones.

An RMS norm is x ↦ √D γ ∘ x / ‖x‖. For orthogonal Q, ‖Qᵀ x‖ = ‖x‖, so with γ in the layers behind it the norm commutes with Q:

    E' = E Q_0                       table of tokens
    W'_in  = W_in diag(γ) Q_p f      layers that read the norm at place p, with f = √(D / D')
    W'_out = Q_{p+1}ᵀ W_out          layers that write to the residual behind it
    S'     = Q_{p+1}ᵀ S Q_p          its shortcut, the identity where Q_p = Q_{p+1}
    H'     = H diag(γ) Q_P f         output layer, which no longer shares E

The norms keep γ = 1. Q_p (D, D') has the eigenvectors of E[x xᵀ / mean(x²)] at place p with the largest eigenvalues; with
D' = D nothing changes. A network has P + 1 places: the input of each attention and feed-forward layer, and of the last norm.
Ashkboos et al. 2024, SliceGPT, arXiv:2401.15024, section 3.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from compress.core.errors import ModelError
from compress.core.language import gettext
from compress.models.pruned_attention import is_skipped
from compress.models.text.keep_layers import find_pretrained
from compress.models.text.rotated_layer import RotatedLayer, has_llama_shape, rotated
from compress.prune.base import MASK
from compress.prune.criteria.base import ScoringData, working_copy

READERS = ("q_proj", "k_proj", "v_proj", "gate_proj", "up_proj", "gate")
WRITERS = ("o_proj", "down_proj")


@dataclass(frozen=True)
class HiddenPlaces:
    """The parts of a decoder that read or write hidden vectors, by name.

    Attributes:
        table: The table of tokens.
        layers: Layers that are not dropped.
        norm: The last norm.
        head: The output layer.
    """

    table: str
    layers: tuple[str, ...]
    norm: str
    head: str

    @property
    def norms(self) -> tuple[str, ...]:
        """The norm of each place, P + 1 of them."""
        names = [f"{layer}.{norm}" for layer in self.layers for norm in ("input_layernorm", "post_attention_layernorm")]
        return (*names, self.norm)


def find_places(module: nn.Module) -> HiddenPlaces:
    """The parts of a decoder of Llama's shape.

    Raises:
        ModelError: It has another shape.
    """
    inner = find_pretrained(module)
    names = {part: name for name, part in module.named_modules()}
    stack = next((part for part in module.modules() if isinstance(getattr(part, "layers", None), nn.ModuleList)), None)
    head = getattr(inner, "lm_head", None)
    norm = getattr(stack, "norm", None)
    layers = [layer for layer in getattr(stack, "layers", ()) if not is_skipped(layer)]
    if inner is None or norm is None or not isinstance(head, nn.Linear) or not layers or not all(map(has_llama_shape, layers)):
        msg = gettext(
            "granularity 'component' rotates the hidden vectors of decoders of Llama's shape (SmolLM, Qwen2, Mistral, Mixtral "
            "and `decoder:`), which this network does not have; use granularity: channel with importance: minitron"
        )
        raise ModelError(msg)
    table = names[inner.get_input_embeddings()]
    return HiddenPlaces(table, tuple(names[layer] for layer in layers), names[norm], names[head])


@torch.no_grad()
def hidden_moments(module: nn.Module, places: HiddenPlaces, data: ScoringData) -> list[Tensor]:
    """E[x xᵀ / mean(x²)] of the hidden vectors x at each place, (D, D), float64, over tokens that are no padding.

    Args:
        module: The network; not changed.
        places: Its parts.
        data: Texts and task.
    """
    work = working_copy(module, data.device)
    totals: list[Tensor | None] = [None] * len(places.norms)
    tokens, mask = 0, torch.ones(0)

    def watch(place: int) -> Callable[..., None]:
        def record(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            x = inputs[0].flatten(0, -2)
            kept = (x[mask.flatten().bool()] if mask.numel() == len(x) else x).double()
            normed = kept / kept.square().mean(1, keepdim=True).clamp(min=1e-30).sqrt()
            square = (normed.T @ normed).cpu()
            before = totals[place]
            totals[place] = square if before is None else before.add_(square)

        return record

    handles = [work.get_submodule(name).register_forward_pre_hook(watch(place)) for place, name in enumerate(places.norms)]
    try:
        for batch in data.batches:
            inputs = batch.to(data.device).inputs
            mask = inputs.get(MASK, torch.ones(0))
            tokens += int(mask.sum()) or batch.size
            data.task.forward(work, inputs)
    finally:
        for handle in handles:
            handle.remove()
    return [total / max(tokens, 1) for total in totals if total is not None]


def principal_axes(moments: Sequence[Tensor], *, common: bool) -> list[Tensor]:
    """The eigenvectors of each place, (D, D), largest eigenvalue first; with `common` those of the mean, at every place."""
    if common:
        return [_axes(torch.stack(list(moments)).mean(0))] * len(moments)
    return [_axes(moment) for moment in moments]


def _axes(moment: Tensor) -> Tensor:
    vectors: Tensor = torch.linalg.eigh(moment).eigenvectors
    return vectors.flip(1)


def kept_variance(moments: Sequence[Tensor], axes: Sequence[Tensor], width: int) -> float:
    """Mean over the places of the part of E‖x‖² that the first components hold."""
    parts = [
        float(torch.einsum("dk,de,ek->", q[:, :width], moment, q[:, :width]) / moment.trace())
        for moment, q in zip(moments, axes, strict=True)
    ]
    return sum(parts) / len(parts)


@torch.no_grad()
def rotate(module: nn.Module, places: HiddenPlaces, axes: Sequence[Tensor], width: int) -> nn.Module:
    """A copy of a network in eval mode whose hidden vectors have the first components.

    Args:
        module: The network.
        places: Its parts.
        axes: Q of each place, (D, D), float64; the same tensor at every place needs no shortcuts.
        width: D'.
    """
    net = copy.deepcopy(module).eval()
    net.zero_grad(set_to_none=True)
    q = [each[:, :width] for each in axes]
    factor = (len(axes[0]) / width) ** 0.5
    common = all(each is axes[0] for each in axes)
    table, head = net.get_submodule(places.table), net.get_submodule(places.head)
    head_weight = head.get_parameter("weight").detach().clone()
    _set(table, table.get_parameter("weight").double() @ q[0])
    for index, name in enumerate(places.layers):
        layer = net.get_submodule(name)
        if not common and not isinstance(layer, RotatedLayer):
            layer = rotated(layer)
            net.set_submodule(name, layer)
        first, middle, last = q[2 * index : 2 * index + 3]
        sides = (
            ("input_layernorm", "self_attn", "attention_shortcut", first, middle),
            ("post_attention_layernorm", "mlp", "feed_forward_shortcut", middle, last),
        )
        for norm, part, shortcut, before, after in sides:
            _rotate_part(layer.get_submodule(part), _take_scale(layer.get_submodule(norm), width), before, after, factor)
            if isinstance(layer, RotatedLayer):
                s = layer.get_submodule(shortcut)
                _set(s, after.T @ s.get_parameter("weight").double() @ before)
    scale = _take_scale(net.get_submodule(places.norm), width)
    own = nn.Parameter(head_weight, requires_grad=head.get_parameter("weight").requires_grad)
    head.weight = own  # no longer that of the table
    _set(head, head_weight.double() * scale @ q[-1] * factor)
    return net


def _rotate_part(part: nn.Module, scale: Tensor, before: Tensor, after: Tensor, factor: float) -> None:
    """Rotate the layers of an attention, a feed-forward network or a mixture that read or write hidden vectors."""
    for name, child in part.named_modules():
        leaf = name.rpartition(".")[2]
        if not isinstance(child, nn.Linear):
            continue
        if leaf in READERS:
            _set(child, child.weight.double() * scale @ before * factor)
        elif leaf in WRITERS:
            _set(child, after.T @ child.weight.double())
            if child.bias is not None:
                child.bias = _like(child.bias, after.T @ child.bias.double())


def _take_scale(norm: nn.Module, width: int) -> Tensor:
    """γ of a norm, (D,), float64, which becomes 1."""
    weight = norm.get_parameter("weight")
    scale: Tensor = weight.detach().double()
    norm.weight = _like(weight, torch.ones(width))
    return scale


def _set(part: nn.Module, weight: Tensor) -> None:
    """Set the weight of a linear layer or a table, and the sizes that it names."""
    part.weight = _like(part.get_parameter("weight"), weight)
    if isinstance(part, nn.Linear):
        part.out_features, part.in_features = weight.shape
    elif isinstance(part, nn.Embedding):
        part.embedding_dim = weight.shape[1]


def _like(before: nn.Parameter, values: Tensor) -> nn.Parameter:
    return nn.Parameter(values.to(before).contiguous(), requires_grad=before.requires_grad)
