"""A decoder layer of Llama's or GPT-2's shape whose input, middle and output have hidden vectors in three different bases.

    y = S_a x + Attention(norm(x)),   z = S_f y + FeedForward(norm(y))

S_a and S_f, (D', D'), take the residual from one basis to the next: Ashkboos et al. 2024, SliceGPT, arXiv:2401.15024, figure 4.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor, nn


class LayerParts(NamedTuple):
    """Names of the children of a decoder layer, which has no others.

    Attributes:
        attention_norm: The norm before the attention.
        attention: The attention.
        feed_forward_norm: The norm before the feed-forward network.
        feed_forward: The feed-forward network, or a mixture of them.
    """

    attention_norm: str
    attention: str
    feed_forward_norm: str
    feed_forward: str


LLAMA = LayerParts("input_layernorm", "self_attn", "post_attention_layernorm", "mlp")
GPT2 = LayerParts("ln_1", "attn", "ln_2", "mlp")


class RotatedLayer(nn.Module):
    """The layer of Llama's shape; made by `rotated`.

    Attributes:
        attention_shortcut: S_a.
        feed_forward_shortcut: S_f.
    """

    input_layernorm: nn.Module
    self_attn: nn.Module
    attention_shortcut: nn.Linear
    post_attention_layernorm: nn.Module
    mlp: nn.Module
    feed_forward_shortcut: nn.Linear

    def forward(self, hidden_states: Tensor, **options: Any) -> Tensor:
        """(N, L, D) → (N, L, D); the options are those of the attention."""
        attended, _ = self.self_attn(hidden_states=self.input_layernorm(hidden_states), **options)
        middle = self.attention_shortcut(hidden_states) + attended
        output: Tensor = self.feed_forward_shortcut(middle) + self.mlp(self.post_attention_layernorm(middle))
        return output


class RotatedGpt2Layer(nn.Module):
    """The layer of GPT-2's shape, without attention to another network; see `RotatedLayer`."""

    ln_1: nn.Module
    attn: nn.Module
    attention_shortcut: nn.Linear
    ln_2: nn.Module
    mlp: nn.Module
    feed_forward_shortcut: nn.Linear

    def forward(
        self, hidden_states: Tensor, cache: Any = None, attention_mask: Tensor | None = None, *_: Any, **options: Any
    ) -> Tensor:
        """(N, L, D) → (N, L, D); the arguments are those of GPT-2's layer, of which states of an encoder are not used."""
        options.pop("encoder_attention_mask", None)
        attended, _weights = self.attn(self.ln_1(hidden_states), cache, attention_mask=attention_mask, **options)
        middle = self.attention_shortcut(hidden_states) + attended
        output: Tensor = self.feed_forward_shortcut(middle) + self.mlp(self.ln_2(middle))
        return output


ROTATED_LAYERS = {LLAMA: RotatedLayer, GPT2: RotatedGpt2Layer}


def parts_of(layer: nn.Module) -> LayerParts | None:
    """Names of the parts of a layer, rotated or not; None for one of another shape."""
    children = {name for name, _ in layer.named_children()}
    return next(
        (parts for parts, kind in ROTATED_LAYERS.items() if isinstance(layer, kind) or children == {*parts}),
        None,
    )


def is_rotated(layer: nn.Module) -> bool:
    """Whether a layer has shortcuts with matrices."""
    return isinstance(layer, tuple(ROTATED_LAYERS.values()))


def rotated(layer: nn.Module) -> nn.Module:
    """A rotated layer with the parts of a layer, and shortcuts that change nothing.

    Args:
        layer: A layer with `parts_of`; the result uses its parts, not copies.
    """
    parts = parts_of(layer)
    assert parts is not None  # noqa: S101  # callers ask first
    kind = ROTATED_LAYERS[parts]
    made = kind.__new__(kind)
    vars(made).update(vars(layer))
    made._modules = dict(layer._modules)
    weight: Tensor = next(layer.get_submodule(parts.attention_norm).parameters())
    for name in ("attention_shortcut", "feed_forward_shortcut"):
        shortcut = nn.Linear(len(weight), len(weight), bias=False, device=weight.device, dtype=weight.dtype)
        nn.init.eye_(shortcut.weight)
        made.add_module(name, shortcut.train(layer.training))
    return made
