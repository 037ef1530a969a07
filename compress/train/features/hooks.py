"""Taps: what layers give or are given during a forward pass, read by hooks that are removed whatever happens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

HookKind = Literal["output", "input", "attention"]


@dataclass(frozen=True)
class HookSpec:
    """One place to read.

    Attributes:
        name: Of the layer, as in `named_modules`.
        kind: `output`, its first tensor; `input`, what it is given; `attention`, its attention map (N, heads, L, L).
        copied: Whether a later layer changes the tensor in place, so that a copy must be read.
    """

    name: str
    kind: HookKind = "output"
    clone: bool = False


Activations = dict[HookSpec, Tensor]
"""What the taps read; a layer that runs several times leaves its last."""


@contextmanager
def capture(module: nn.Module, taps: Sequence[HookSpec]) -> Iterator[Activations]:
    """Read these taps of every forward pass inside the block; afterwards the module is as it was, also after an error.

    Args:
        module: The network.
        taps: Places in it.
    """
    seen: Activations = {}
    with ExitStack() as undo:
        for tap in taps:
            _open(module.get_submodule(tap.name), tap, seen, undo)
        yield seen


def first_tensor(output: Any) -> Tensor | None:
    """The tensor that a layer gave: its output, or the first of a tuple (recurrent layers)."""
    first = output[0] if isinstance(output, tuple) and output else output
    return first if isinstance(first, Tensor) else None


def has_attention_map(layer: nn.Module) -> bool:
    """Whether a layer has an attention map to read: torch's `MultiheadAttention` and timm's `Attention`."""
    return isinstance(layer, nn.MultiheadAttention) or (hasattr(layer, "fused_attn") and hasattr(layer, "attn_drop"))


def _open(layer: nn.Module, tap: HookSpec, seen: Activations, undo: ExitStack) -> None:
    def keep(value: Tensor | None) -> None:
        if value is not None:
            seen[tap] = value.clone() if tap.clone else value

    if tap.kind == "output":
        handle = layer.register_forward_hook(lambda _, __, output: keep(first_tensor(output)))
        undo.callback(handle.remove)
    elif tap.kind == "input":
        undo.callback(layer.register_forward_pre_hook(lambda _, args: keep(first_tensor(args))).remove)
    elif isinstance(layer, nn.MultiheadAttention):
        asks = layer.register_forward_pre_hook(_ask_for_weights, with_kwargs=True)
        undo.callback(asks.remove)
        undo.callback(layer.register_forward_hook(lambda _, __, output: keep(output[1])).remove)
    else:  # timm: the map passes through its dropout, unless the fused kernel is used
        undo.callback(setattr, layer, "fused_attn", layer.fused_attn)
        layer.fused_attn = False  # type: ignore[assignment]
        undo.callback(layer.attn_drop.register_forward_pre_hook(lambda _, args: keep(first_tensor(args))).remove)  # type: ignore[union-attr]


def _ask_for_weights(layer: nn.Module, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:  # noqa: ARG001
    return args, {**kwargs, "need_weights": True, "average_attn_weights": False}
