"""Attention layers of a decoder in an ONNX file: what a cache of keys and values needs to know; part of the file's metadata.

    q_t = rotate(W_q x_t, t)      k_t = rotate(W_k x_t, t)      v_t = W_v x_t
    rotate by the angles t · f_i, for i = 1 … width / 2

A layer keeps k_t and v_t of all earlier tokens, (batch, groups, tokens, width) each.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from compress.core.frozen_model import FrozenModel

METADATA = "decoder"
"""Key of a layout in the metadata of an ONNX file."""
CACHED = "key_value_cache"
"""Key of the metadata of a file with past keys and values; its value is `LAST` or `ALL`."""
LAST, ALL = "last", "all"
"""Whether a file computes the logits of the last token alone, or of all."""
FLOAT_BITS = 32


class AttentionLayer(FrozenModel):
    """One attention layer; layers of a pruned network may have other numbers of heads.

    Attributes:
        query: Name of the layer that computes the queries.
        key: Of the keys; the same where one layer computes queries, keys and values side by side.
        value: Of the values.
        output: Name of the layer after the heads.
        heads: Query heads.
        groups: Key–value heads; a divisor of `heads`.
        width: Numbers in each head.
        scale: Factor of the scores q · k.
    """

    query: str
    key: str
    value: str
    output: str
    heads: int = Field(ge=1)
    groups: int = Field(ge=1)
    width: int = Field(ge=1)
    scale: float = Field(gt=0.0)

    @property
    def is_joint(self) -> bool:
        """Whether one layer computes queries, keys and values side by side."""
        return self.query == self.key


class ResponsePart(FrozenModel):
    """What the decoder of an encoder-decoder has besides its attention layers.

    Attributes:
        start: Token that it reads first.
        embedding: Name of the lookup of its tokens.
        position_offset: Row of the first learned position.
        distances: Name of the lookup of relative positions (Raffel et al. 2020, arXiv:1910.10683); empty without.
        buckets: Row of `distances` for a token that is 0, 1, 2 … tokens back; those further back have the last one.
        cross_bytes: Bytes of the keys and values of one token of a prompt, of all layers together.
    """

    start: int
    embedding: str
    position_offset: int = 0
    distances: str = ""
    buckets: tuple[int, ...] = ()
    cross_bytes: int = 0


class DecoderLayout(FrozenModel):
    """Attention layers of a network, its positions and its head.

    Attributes:
        layers: Attention layers, first to last.
        context: Most tokens of a text.
        frequencies: Angles f_i of rotary positions (Su et al. 2021, arXiv:2104.09864) in radians per token; empty without.
        rotary_scale: Factor of cosine and sine.
        positions: Name of the layer with learned positions; empty without.
        head: Name of the layer of the logits.
        window: Tokens that a token sees, itself included; None for all.
        cache_bits: Bits of each number of the kept keys and values.
        response: Of the decoder of an encoder-decoder, whose `layers` are those over its own tokens; None for other networks.
    """

    layers: tuple[AttentionLayer, ...] = Field(min_length=1)
    context: int = Field(ge=1)
    frequencies: tuple[float, ...] = ()
    rotary_scale: float = 1.0
    positions: str = ""
    head: str
    window: int | None = Field(default=None, ge=1)
    cache_bits: Literal[4, 8, 32] = 32
    response: ResponsePart | None = None

    @property
    def bytes_per_token(self) -> int:
        """Bytes of the kept keys and values of one token: Σ_l 2 · groups_l · width_l · bits / 8."""
        return sum(2 * layer.groups * layer.width * self.cache_bits // 8 for layer in self.layers)
