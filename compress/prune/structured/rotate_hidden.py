"""Rotate the hidden vectors of a decoder to their principal components, and keep the first ones.

An RMS norm is x ↦ √D γ ∘ x / ‖x‖. For orthogonal Q, ‖Qᵀ x‖ = ‖x‖, so with γ in the layers behind it the norm commutes with Q:

    E' = E Q_0                       table of tokens
    W'_in  = W_in diag(γ) Q_p f      layers that read the norm at place p, with f = √(D / D')
    W'_out = Q_{p+1}ᵀ W_out          layers that write to the residual behind it
    S'     = Q_{p+1}ᵀ S Q_p          its shortcut, the identity where Q_p = Q_{p+1}
    H'     = H diag(γ) Q_P f         output layer, which no longer shares E

The norms keep γ = 1. Q_p (D, D') has the eigenvectors of E[x xᵀ / mean(x²)] at place p with the largest eigenvalues; with
D' = D nothing changes. A network has P + 1 places: the input of each attention and feed-forward layer, and of the last norm.
Ashkboos et al. 2024, SliceGPT, arXiv:2401.15024, section 3.

A layer norm is √D γ ∘ x M / ‖x M‖ + β with M = I − 1 1ᵀ / D, section 3.2. M goes into the parts that write x, so that every x
has mean 0 and the layer norm is an RMS norm; Q_p has D' − 1 components orthogonal to 1, and C (D' − 1, D'), with orthonormal
rows orthogonal to 1, takes them to vectors of mean 0 again:

    E' = E M Q_0 C,   W'_in = W_in diag(γ) Q_p C f,   W'_out = Cᵀ Q_{p+1}ᵀ M W_out,   S' = Cᵀ Q_{p+1}ᵀ S Q_p C

The norms stay layer norms with γ = 1, and the network keeps its form; at D' = D nothing changes. W_in β goes into the bias of a
layer that has one. Otherwise the norm has β = 1, and W'_in has the part W_in β 1ᵀ / D' in the direction that is not used.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from compress.models.text.rotated_layer import is_rotated, rotated
from compress.prune.base import MASK
from compress.prune.criteria.base import ScoringData, working_copy
from compress.prune.structured.hidden_places import READERS, WRITERS, HiddenPlaces


@torch.no_grad()
def hidden_moments(module: nn.Module, places: HiddenPlaces, data: ScoringData) -> list[Tensor]:
    """E[x xᵀ / mean(x²)] of the hidden vectors x at each place, (D, D), float64, over tokens that are no padding.

    Before layer norms x is without its mean.

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
            kept = kept - kept.mean(1, keepdim=True) if places.is_centred else kept
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


def principal_axes(moments: Sequence[Tensor], *, common: bool, is_centred: bool = False) -> list[Tensor]:
    """The eigenvectors of each place, (D, D), largest eigenvalue first; with `common` those of the mean, at every place.

    Args:
        moments: Of `hidden_moments`.
        common: Whether all places have the same ones.
        is_centred: Whether the vectors have mean 0; 1 / √D is then the last eigenvector.
    """
    if common:
        return [_axes(torch.stack(list(moments)).mean(0), is_centred)] * len(moments)
    return [_axes(moment, is_centred) for moment in moments]


def _axes(moment: Tensor, is_centred: bool) -> Tensor:
    if is_centred:  # the mean would be any of the eigenvectors without variance
        moment = moment - moment.trace() / len(moment)
    vectors: Tensor = torch.linalg.eigh(moment).eigenvectors
    return vectors.flip(1)


def kept_variance(moments: Sequence[Tensor], axes: Sequence[Tensor], count: int) -> float:
    """Mean over the places of the part of E‖x‖² that the first components hold."""
    parts = [
        float(torch.einsum("dk,de,ek->", q[:, :count], moment, q[:, :count]) / moment.trace())
        for moment, q in zip(moments, axes, strict=True)
    ]
    return sum(parts) / len(parts)


def components(width: int, *, is_centred: bool) -> int:
    """Components that hidden vectors of a width hold: one less if they have mean 0."""
    return width - is_centred


def _bases(axes: Sequence[Tensor], width: int, is_centred: bool) -> list[Tensor]:
    """Q_p of each place, (D, D'), or Q_p C."""
    kept = [each[:, : components(width, is_centred=is_centred)] for each in axes]
    if not is_centred:
        return kept
    ones = torch.ones(width, 1, dtype=torch.float64)
    c = torch.linalg.qr(ones, mode="complete").Q[:, 1:].T  # the first column is ±1 / √D'
    return [each @ c for each in kept]


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
    q = _bases(axes, width, places.is_centred)
    common = all(each is axes[0] for each in axes)
    head = net.get_submodule(places.head)
    head_weight = head.get_parameter("weight").detach().clone()
    for name in places.tables:
        table = net.get_submodule(name)
        _set(table, table.get_parameter("weight").double() @ q[0])
    for index, name in enumerate(places.layers):
        layer = net.get_submodule(name)
        if not common and not is_rotated(layer):
            layer = rotated(layer)
            net.set_submodule(name, layer)
        first, middle, last = q[2 * index : 2 * index + 3]
        attention_norm, attention, feed_forward_norm, feed_forward = places.parts
        sides = (
            (attention_norm, attention, "attention_shortcut", first, middle),
            (feed_forward_norm, feed_forward, "feed_forward_shortcut", middle, last),
        )
        for norm, part, shortcut, before, after in sides:
            _rotate_part(layer.get_submodule(part), layer.get_submodule(norm), before, after)
            if is_rotated(layer):
                s = layer.get_submodule(shortcut)
                _set(s, after.T @ s.get_parameter("weight").double() @ before)
    own = nn.Parameter(head_weight, requires_grad=head.get_parameter("weight").requires_grad)
    head.weight = own  # no longer that of the table
    _rotate_readers([head], net.get_submodule(places.norm), q[-1])
    return net


def _rotate_part(part: nn.Module, norm: nn.Module, before: Tensor, after: Tensor) -> None:
    """Rotate the layers of an attention, a feed-forward network or a mixture that read or write hidden vectors."""
    layers = [(name.rpartition(".")[2], child) for name, child in part.named_modules() if isinstance(child, nn.Linear)]
    _rotate_readers([child for leaf, child in layers if leaf in READERS], norm, before)
    for leaf, child in layers:
        if leaf in WRITERS:
            _set(child, after.T @ child.weight.double())
            if child.bias is not None:
                child.bias = _like(child.bias, after.T @ child.bias.double())


def _rotate_readers(layers: Sequence[nn.Module], norm: nn.Module, basis: Tensor) -> None:
    """Rotate the layers that read a norm, which keeps a scale of 1 and takes the new width."""
    scale, shift = (_taken(norm, name) for name in ("weight", "bias"))
    assert scale is not None  # noqa: S101  # norms of these shapes have a scale
    width = basis.shape[1]
    has_biases = all(getattr(layer, "bias", None) is not None for layer in layers)
    norm.weight = _like(norm.get_parameter("weight"), torch.ones(width))
    if shift is not None:
        norm.bias = _like(norm.get_parameter("bias"), torch.full((width,), 0.0 if has_biases else 1.0))
    if isinstance(norm, nn.LayerNorm):
        norm.normalized_shape = (width,)
    for layer in layers:
        weight = layer.get_parameter("weight").double()
        turned = weight * scale @ basis * (len(scale) / width) ** 0.5
        if shift is not None and has_biases:
            layer.bias = _like(layer.get_parameter("bias"), layer.get_parameter("bias").double() + weight @ shift)
        elif shift is not None:
            turned = turned + (weight @ shift)[:, None] / width
        _set(layer, turned)


def _taken(norm: nn.Module, name: str) -> Tensor | None:
    """γ or β of a norm, (D,), float64; None where it has none."""
    parameter = norm._parameters.get(name)
    return None if parameter is None else parameter.detach().double()


def _set(part: nn.Module, weight: Tensor) -> None:
    """Set the weight of a linear layer or a table, and the sizes that it names."""
    part.weight = _like(part.get_parameter("weight"), weight)
    if isinstance(part, nn.Linear):
        part.out_features, part.in_features = weight.shape
    elif isinstance(part, nn.Embedding):
        part.embedding_dim = weight.shape[1]


def _like(before: nn.Parameter, values: Tensor) -> nn.Parameter:
    return nn.Parameter(values.to(before).contiguous(), requires_grad=before.requires_grad)
