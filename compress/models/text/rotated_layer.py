"""A decoder layer of Llama's shape whose input, middle and output have hidden vectors in three different bases.

    y = S_a x + Attention(norm(x)),   z = S_f y + FeedForward(norm(y))

S_a and S_f, (D', D'), take the residual from one basis to the next: Ashkboos et al. 2024, SliceGPT, arXiv:2401.15024, figure 4.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

PARTS = ("input_layernorm", "self_attn", "post_attention_layernorm", "mlp")
"""Children that a layer of Llama's shape has, and no others."""


class RotatedLayer(nn.Module):
    """The layer; made by `rotated`.

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


def has_llama_shape(layer: nn.Module) -> bool:
    """Whether a layer has two norms, an attention and a feed-forward network, and nothing else; or is a rotated one."""
    return isinstance(layer, RotatedLayer) or {name for name, _ in layer.named_children()} == {*PARTS}


def rotated(layer: nn.Module) -> RotatedLayer:
    """A rotated layer with the parts of a layer of Llama's shape, and shortcuts that change nothing.

    Args:
        layer: The layer; the result uses its parts, not copies.
    """
    made = RotatedLayer.__new__(RotatedLayer)
    vars(made).update(vars(layer))
    made._modules = dict(layer._modules)
    weight: Tensor = next(layer.get_submodule(PARTS[0]).parameters())
    for name in ("attention_shortcut", "feed_forward_shortcut"):
        shortcut = nn.Linear(len(weight), len(weight), bias=False, device=weight.device, dtype=weight.dtype)
        nn.init.eye_(shortcut.weight)
        made.add_module(name, shortcut.train(layer.training))
    return made
