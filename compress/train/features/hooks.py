"""Read outputs, inputs and attention maps of layers during a forward pass, by hooks that are always removed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Literal

from torch import Tensor, nn

from compress.train.features.attention_layers import projection_names, watch

HookKind = Literal["output", "input", "attention", "scores", "relations"]


@dataclass(frozen=True)
class HookSpec:
    """One tensor to read.

    Attributes:
        name: Of the layer, as in `named_modules`; empty for the network itself.
        kind: `output`, its first tensor; `input`, its first argument; `attention`, its attention map (N, heads, L, L);
            `scores`, the map before mask and softmax; `relations`, query, key and value, (N, 3, heads, L, d).
        clone: Whether a later layer changes the tensor in place, so that a copy must be taken.
        as_map: Whether it is read as a map, see `as_map`.
        call: Which run of the layer in one pass of the network, from 0; None for the last.
    """

    name: str
    kind: HookKind = "output"
    clone: bool = False
    as_map: bool = False
    call: int | None = None

    @property
    def label(self) -> str:
        """The name, with the number of the run for a layer that runs several times: `layer#2`."""
        return self.name if self.call is None else f"{self.name}#{self.call}"


Activations = dict[HookSpec, Tensor]
"""Tensors by hook."""


@contextmanager
def capture(module: nn.Module, hooks: Sequence[HookSpec]) -> Iterator[Activations]:
    """Read tensors in every forward pass inside the block; the module is restored afterwards, also after an error.

    Args:
        module: The network.
        hooks: The tensors to read.
    """
    activations: Activations = {}
    with ExitStack() as undo:
        for hook in hooks:
            _register(module.get_submodule(hook.name), hook, activations, undo)
        yield activations


def first_tensor(output: object) -> Tensor | None:
    """The output of a layer, or its first element if it is a tuple (recurrent layers); None if this is no tensor."""
    first = output[0] if isinstance(output, tuple) and output else output
    return first if isinstance(first, Tensor) else None


def as_map(tensor: Tensor) -> Tensor:
    """Features of a signal (N, C, L) as a map (N, C, 1, L), of a volume (N, C, D, H, W) as one (N, C, D, H·W)."""
    return tensor.unsqueeze(2) if tensor.ndim == 3 else tensor.flatten(3)


def has_attention_map(layer: nn.Module) -> bool:
    """Whether the attention map of a layer can be read: torch's `MultiheadAttention`, timm's and Hugging Face's `Attention`."""
    own = isinstance(layer, nn.MultiheadAttention) or (hasattr(layer, "fused_attn") and hasattr(layer, "attn_drop"))
    return own or bool(projection_names(layer))


def _register(layer: nn.Module, hook: HookSpec, activations: Activations, undo: ExitStack) -> None:
    calls = count()

    def save(tensor: Tensor | None) -> None:
        call = next(calls)
        if tensor is not None and hook.call in (None, call):
            tensor = as_map(tensor) if hook.as_map else tensor
            activations[hook] = tensor.clone() if hook.clone else tensor

    if hook.kind == "output":
        undo.callback(layer.register_forward_hook(lambda _, __, output: save(first_tensor(output))).remove)
    elif hook.kind == "input":
        undo.callback(layer.register_forward_pre_hook(lambda _, args: save(first_tensor(args))).remove)
    elif projection_names(layer):
        kind = hook.kind
        watch(layer, lambda attention: save(attention.read(kind)), undo)
    elif isinstance(layer, nn.MultiheadAttention):
        undo.callback(layer.register_forward_pre_hook(_request_weights, with_kwargs=True).remove)
        undo.callback(layer.register_forward_hook(lambda _, __, output: save(output[1])).remove)
    else:  # timm: the map is the input of its dropout, unless the fused kernel is used
        undo.callback(setattr, layer, "fused_attn", layer.fused_attn)
        layer.fused_attn = False  # type: ignore[assignment]
        undo.callback(layer.attn_drop.register_forward_pre_hook(lambda _, args: save(first_tensor(args))).remove)  # type: ignore[union-attr]


def _request_weights(
    layer: nn.Module,  # noqa: ARG001
    args: tuple[object, ...],
    kwargs: dict[str, object],
) -> tuple[tuple[object, ...], dict[str, object]]:
    return args, {**kwargs, "need_weights": True, "average_attn_weights": False}
