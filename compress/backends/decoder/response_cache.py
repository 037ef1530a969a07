"""Give the decoder of an encoder-decoder past keys and values of its own tokens: a further token then costs one token.

    before   values of the prompt, tokens (B, T)                                       → logits (B, T, V)
    after    values of the prompt, tokens (B, T), mask (B, P + T), past (B, G, P, W)…  → logits, present (B, G, P + T, W)…

The values of the prompt already contain keys and values of the attention to the encoder. With relative positions the scores of
query i and key j get b[bucket(i − j)], Raffel et al. 2020, arXiv:1910.10683; the bucket of a distance is read from a table.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from compress.backends import onnx_files
from compress.backends import onnx_graph as graphs
from compress.backends.decoder.divide_by_root import divide_by_root
from compress.backends.decoder.find_layers import find_layer, layer_result, read_rows
from compress.backends.decoder.key_value_cache import LOOKUPS, TOTAL_LENGTH, CacheBuilder
from compress.core.decoder_layout import ALL, DecoderLayout, ResponsePart
from compress.core.errors import ConversionError
from compress.core.language import gettext
from compress.data.text.settings import DECODER_IDS

DECODER_MASK = "decoder_attention_mask"
"""Name of the input with ones for earlier and new tokens of the response."""


def add_response_cache(path: Path, layout: DecoderLayout) -> None:
    """Give `decoder.onnx` of `split_encoder` past keys and values, in place.

    Args:
        path: The file, float or quantized.
        layout: Its attention layers.

    Raises:
        ConversionError: The graph is not that of the layout.
    """
    if layout.response is None:
        raise ConversionError(gettext("{path} is not the decoder of an encoder-decoder", path=path))
    model = graphs.with_shapes(ir.from_proto(onnx_files.load(path)))
    mask = ir.Value(
        name=DECODER_MASK,
        type=ir.TensorType(ir.DataType.INT64),
        shape=ir.Shape([ir.SymbolicDim("batch"), ir.SymbolicDim(TOTAL_LENGTH)]),
    )
    model.graph.inputs.append(mask)
    builder = _ResponseCacheBuilder(model, layout, layout.response)
    for index, layer in enumerate(layout.layers):
        builder.replace_attention(index, layer)
    divide_by_root(model)
    builder.finish(ALL)
    proto = graphs.to_proto(model)
    onnx_files.check(proto)
    onnx_files.save(proto, path)


class _ResponseCacheBuilder(CacheBuilder):
    """Adds the cache, and reads tokens and positions after those of the past."""

    names: ClassVar[tuple[str, str]] = (DECODER_IDS, DECODER_MASK)

    def __init__(self, model: ir.Model, layout: DecoderLayout, part: ResponsePart) -> None:
        super().__init__(model, layout)
        self.part = part
        positions, keys = self._positions()
        self._read_tokens(positions)
        if layout.positions:
            self._read_learned_positions(positions)
        if part.distances:
            self.bias = self._relative_bias(positions, keys)

    def _integers(self, name: str, values: object) -> ir.Value:
        return graphs.add_initializer(self.model, name, np.array(values, np.int64))

    def _before_all(self, operator: str, inputs: list[ir.Value], name: str) -> ir.Value:
        """Add a node before the network's own."""
        node = graphs.make_node(operator, inputs, [name])
        self.model.graph.insert_before(self.first, node)
        value: ir.Value = node.outputs[0]
        return value

    def _positions(self) -> tuple[ir.Value, ir.Value]:
        """Positions of the new tokens, (T,), and of all tokens, (P + T,)."""
        zero, one = self._integers("response_zero", 0), self._integers("response_one", 1)
        shape = self._before_all("Shape", [self.ids], "response_shape")
        new = self._before_all("Gather", [shape, one], "response_new")
        total = graphs.find_value(self.model, "cache_length")
        past = self._before_all("Sub", [total, new], "response_past")
        positions = self._before_all("Range", [past, total, one], "response_positions")
        return positions, self._before_all("Range", [zero, total, one], "response_keys")

    def _read_tokens(self, positions: ir.Value) -> None:
        """Look up the tokens, and the start at the first position."""
        zero = graphs.find_value(self.model, "response_zero")
        is_first = self._before_all("Equal", [positions, zero], "response_is_first")
        start = self._integers("response_start", self.part.start)
        tokens = self._before_all("Where", [is_first, start, self.ids], "response_tokens")
        read_rows(self._table(), tokens)

    def _table(self) -> ir.Node:
        """The lookup of tokens; an exporter may name one whose table is also the head's after the head."""
        tied = any(
            node.op_type in LOOKUPS and str(node.name).partition("/")[0] == self.layout.head for node in self.model.graph
        )
        return find_layer(self.model, self.layout.head if tied else self.part.embedding, LOOKUPS)

    def _read_learned_positions(self, positions: ir.Value) -> None:
        offset = self._integers("response_offset", self.part.position_offset)
        rows = self._before_all("Add", [positions, offset], "response_rows")
        read_rows(find_layer(self.model, self.layout.positions, LOOKUPS), rows)

    def _relative_bias(self, positions: ir.Value, keys: ir.Value) -> ir.Value:
        """What relative positions add to the scores, (1, heads, T, P + T)."""
        zero = graphs.find_value(self.model, "response_zero")
        axes = [self._integers(f"response_axis_{axis}", [axis]) for axis in (0, 1)]
        queries = self._before_all("Unsqueeze", [positions, axes[1]], "response_queries")
        back = self._before_all("Sub", [queries, keys], "response_back")
        most = self._integers("response_most", len(self.part.buckets) - 1)
        clipped = self._before_all("Clip", [back, zero, most], "response_distances")
        table = self._integers("response_buckets", self.part.buckets)
        rows = self._before_all("Gather", [table, clipped], "response_buckets_read")
        lookup = find_layer(self.model, self.part.distances, LOOKUPS)
        read_rows(lookup, rows)
        found = layer_result(lookup)
        moved = ir.node("Transpose", [found], {"perm": [2, 0, 1]}, outputs=[ir.Value(name="response_moved")])
        bias = graphs.make_node("Unsqueeze", [moved.outputs[0], axes[0]], ["response_bias"])
        producer = found.producer()
        assert producer is not None  # noqa: S101  # the lookup, or what follows it
        self.model.graph.insert_after(producer, [moved, bias])
        value: ir.Value = bias.outputs[0]
        return value
