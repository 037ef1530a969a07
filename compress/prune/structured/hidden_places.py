"""The parts of a decoder that read or write its hidden vectors: shapes of Llama and of GPT-2."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import nn

from compress.core.errors import ModelError
from compress.core.language import gettext
from compress.models.pruned_attention import is_skipped
from compress.models.text.keep_layers import find_pretrained
from compress.models.text.rotated_layer import GPT2, LLAMA, LayerParts, parts_of

READERS = ("q_proj", "k_proj", "v_proj", "gate_proj", "up_proj", "gate", "c_attn", "c_fc")
WRITERS = ("o_proj", "down_proj", "c_proj")
"""Names of the linear layers of an attention or a feed-forward network that read or write hidden vectors."""


@dataclass(frozen=True)
class HiddenPlaces:
    """The parts of a decoder that read or write hidden vectors, by name.

    Attributes:
        tables: The table of tokens, and that of positions if there is one, whose rows are added.
        layers: Layers that are not dropped.
        norm: The last norm.
        head: The output layer.
        parts: Names of the parts of a layer.
    """

    tables: tuple[str, ...]
    layers: tuple[str, ...]
    norm: str
    head: str
    parts: LayerParts

    @property
    def norms(self) -> tuple[str, ...]:
        """The norm of each place, P + 1 of them."""
        names = (self.parts.attention_norm, self.parts.feed_forward_norm)
        return (*(f"{layer}.{name}" for layer in self.layers for name in names), self.norm)

    @property
    def is_centred(self) -> bool:
        """Whether the norms are layer norms, which subtract the mean."""
        return self.parts is GPT2


def find_places(module: nn.Module) -> HiddenPlaces:
    """The parts of a decoder.

    Raises:
        ModelError: It has another shape.
    """
    inner = find_pretrained(module)
    names = {part: name for name, part in module.named_modules()}
    head = getattr(inner, "lm_head", None)
    if inner is not None and isinstance(head, nn.Linear):
        for parts, stack, norm, tables in _stacks(module):
            layers = [layer for layer in stack if not is_skipped(layer)]
            if layers and all(parts_of(layer) is parts for layer in layers) and all(map(_has_linear_layers, layers)):
                found = (inner.get_input_embeddings(), *tables)
                return HiddenPlaces(
                    tuple(names[table] for table in found),
                    tuple(names[layer] for layer in layers),
                    names[norm],
                    names[head],
                    parts,
                )
    msg = gettext(
        "granularity 'component' rotates the hidden vectors of decoders of the shapes of Llama (SmolLM, Qwen2, Mistral, "
        "Mixtral and `decoder:`) and of GPT-2; this network has neither; use granularity: channel with importance: minitron"
    )
    raise ModelError(msg)


def _stacks(module: nn.Module) -> Iterable[tuple[LayerParts, Any, Any, tuple[Any, ...]]]:
    """Names of the parts of a layer, layers, last norm and further tables of each stack of layers."""
    for part in module.modules():
        norm, last, positions = (getattr(part, name, None) for name in ("norm", "ln_f", "wpe"))
        if isinstance(layers := getattr(part, "layers", None), nn.ModuleList) and norm is not None:
            yield LLAMA, layers, norm, ()
        if isinstance(layers := getattr(part, "h", None), nn.ModuleList) and isinstance(last, nn.LayerNorm):
            yield GPT2, layers, last, () if positions is None else (positions,)


def _has_linear_layers(layer: nn.Module) -> bool:
    """Whether no layer with weights of inputs by outputs, as `Conv1D` of transformers, reads hidden vectors."""
    leaves = ((name.rpartition(".")[2], part) for name, part in layer.named_modules())
    return all(isinstance(part, nn.Linear) for leaf, part in leaves if leaf in (*READERS, *WRITERS) and not [*part.children()])
