"""Find the attention layers over its own tokens in the decoder of an encoder-decoder, as in T5, BART, Marian, Whisper."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch

from compress.core.decoder_layout import AttentionLayer, DecoderLayout, ResponsePart

if TYPE_CHECKING:
    from torch import nn

KINDS = {"SelfAttention": ("q", "k", "v", "o"), "self_attn": ("q_proj", "k_proj", "v_proj", "out_proj")}
"""Names of an attention over the decoder's own tokens, and of its projections."""
WIDTHS = ("key_value_proj_dim", "head_dim")
CROSS = ("EncDecAttention", "encoder_attn")
TABLES, LEARNED, DISTANCES = ("embed_tokens", "shared"), "embed_positions", "relative_attention_bias"
HEADS = ("lm_head", "proj_out")
SCALED_QUERIES = ("WhisperAttention",)
"""Attentions that scale their queries right after the layer that computes them, before the scores."""
FLOAT_BYTES = 4


def response_layout(module: nn.Module, most: int) -> DecoderLayout | None:
    """The attention layers of the decoder of an encoder-decoder; None for a network of another kind.

    Args:
        module: A network with `read_prompt`, such as `EncoderDecoder`.
        most: Most tokens of a response.
    """
    start = getattr(module, "start", None)
    if not hasattr(module, "read_prompt") or not isinstance(start, int):
        return None
    parts = {name: part for name, part in module.named_modules() if ".decoder." in f".{name}."}
    layers, cross = [*_attentions(parts, KINDS)], sum(_cross_bytes(parts))
    head = next((name for name, _ in module.named_modules() if name.rpartition(".")[2] in HEADS), "")
    table = next((name for name in parts if name.rpartition(".")[2] in TABLES), "")
    if not layers or not head or not table:
        return None
    distances = next((name for name in parts if name.rpartition(".")[2] == DISTANCES), "")
    positions = next((name for name in parts if name.rpartition(".")[2] == LEARNED), "")
    if bool(distances) == bool(positions):
        return None
    if distances and any(layer.heads != parts[distances].weight.shape[1] for layer in layers):
        return None
    rows = parts[positions].weight.shape[0] if positions else most
    offset = int(getattr(parts[positions], "offset", 0)) if positions else 0
    return DecoderLayout(
        layers=tuple(layers),
        context=min(most, int(rows) - offset),
        positions=positions,
        head=head,
        response=ResponsePart(
            start=start,
            embedding=table,
            position_offset=offset,
            distances=distances,
            buckets=_buckets(parts[distances.rpartition(".")[0]]) if distances else (),
            cross_bytes=cross,
        ),
    )


def _attentions(parts: Mapping[str, nn.Module], kinds: Mapping[str, tuple[str, ...]]) -> Iterator[AttentionLayer]:
    """Attentions of these names; a dropped one has empty weights."""
    for name, part in parts.items():
        names = kinds.get(name.rpartition(".")[2], ())
        width = next((each for key in WIDTHS if isinstance(each := getattr(part, key, None), int)), None)
        projections: list[Any] = [getattr(part, key, None) for key in names]
        if not projections or width is None or any(each is None for each in projections) or not projections[0].weight.numel():
            continue
        heads, groups = (int(each.weight.shape[0]) // width for each in projections[:2])
        query, key, value, output = (f"{name}.{each}" for each in names)
        scale = 1.0 if type(part).__name__ in SCALED_QUERIES else float(getattr(part, "scaling", 1.0))
        yield AttentionLayer(
            query=query, key=key, value=value, output=output, heads=heads, groups=groups, width=width, scale=scale
        )


def _cross_bytes(parts: Mapping[str, nn.Module]) -> Iterator[int]:
    """Bytes of the keys and values of one token of a prompt, of each layer."""
    for layer in _attentions(parts, dict(zip(CROSS, KINDS.values(), strict=True))):
        yield 2 * FLOAT_BYTES * layer.groups * layer.width


def _buckets(attention: Any) -> tuple[int, ...]:  # of transformers
    """Rows of the table of relative positions for tokens that are 0, 1, 2 … tokens back."""
    most = int(attention.relative_attention_max_distance)
    rows = attention._relative_position_bucket(  # the formula of the network itself
        -torch.arange(most + 1)[None],
        bidirectional=False,
        num_buckets=attention.relative_attention_num_buckets,
        max_distance=most,
    )
    return tuple(int(row) for row in rows[0])
