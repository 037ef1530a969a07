"""Give the ONNX graph of a decoder past keys and values: one graph reads a prompt, and computes each further token from it.

    before   input_ids (B, L), attention_mask (B, L)                          → logits (B, L, V)
    after    input_ids (B, L), attention_mask (B, P + L), past (B, G, P, W)…  → logits, present (B, G, P + L, W)…

With P = 0 the graph reads a prompt, with L = 1 it computes a token. The products of the network stay as they are, so any scheme
of quantization keeps its numbers; between them, `GroupQueryAttention` of ONNX Runtime replaces rotation, mask, scores and
softmax. Names of inputs and outputs are those of onnxruntime-genai.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from compress.backends import onnx_files
from compress.backends import onnx_graph as graphs
from compress.backends.decoder.divide_by_root import divide_by_root
from compress.backends.decoder.find_layers import find_layer, joint_results, layer_input, layer_result, read_rows
from compress.backends.read_graph import read_graph
from compress.core.decoder_layout import ALL, CACHED, LAST, METADATA, AttentionLayer, DecoderLayout
from compress.core.errors import ConversionError
from compress.core.language import gettext

if TYPE_CHECKING:
    from compress.backends.decoder.quantized_cache import QuantizedCache

Logits = Literal["last", "all"]
IDS, MASK, POSITIONS = "input_ids", "attention_mask", "position_ids"
PAST, PRESENT = "past_key_values.{layer}.{part}", "present.{layer}.{part}"
"""Names of the tensors of a layer; `part` is `key` or `value`."""
PARTS = ("key", "value")
PAST_LENGTH, TOTAL_LENGTH = "past_sequence_length", "total_sequence_length"
DOMAIN, VERSION = "com.microsoft", 1
OTHER_INPUTS = 3
"""Inputs of the fused attention between the angles and the scales, which are not used here."""
BEFORE_BIAS = 3
"""Inputs between the total length and the bias of the scores, without angles."""
CACHE_TYPES = {32: (ir.DataType.FLOAT, 1), 8: (ir.DataType.INT8, 1), 4: (ir.DataType.UINT8, 2)}
"""Type of kept keys and values by their bits, and numbers in each of its values."""
LOOKUPS = ("Gather", "GatherBlockQuantized")


def read_layout(path: Path) -> DecoderLayout | None:
    """The layout in the metadata of a file; None for a file without one.

    Raises:
        ConversionError: The file is not ONNX, or its layout is damaged.
    """
    entries = {entry.key: entry.value for entry in read_graph(path).metadata_props}
    if METADATA not in entries:
        return None
    try:
        return DecoderLayout.model_validate_json(entries[METADATA])
    except ValueError as error:
        msg = gettext("{path} has a damaged layout of its attention layers ({error}); export it again", path=path, error=error)
        raise ConversionError(msg) from error


def is_cached(path: Path) -> bool:
    """Whether a file has past keys and values that this package added."""
    return any(entry.key == CACHED for entry in read_graph(path).metadata_props)


def write_cached(source: Path, path: Path, *, logits: Logits = "last", cache: QuantizedCache | None = None) -> DecoderLayout:
    """Write the file of a decoder with past keys and values.

    Args:
        source: ONNX file with a layout, float or quantized.
        path: The new file.
        logits: `last` computes the logits of the last token alone.
        cache: Scales of keys and values that are kept as integers; None keeps them in float32.

    Raises:
        ConversionError: The file has no layout, or its graph is not that of the layout.
    """
    layout = read_layout(source)
    if layout is None:
        msg = gettext(
            "{path} does not describe its attention layers, so no keys and values can be kept: known are networks of "
            "transformers of the shape of Llama (also SmolLM, Qwen2, Mistral) and GPT-2, exported by compress",
            path=source,
        )
        raise ConversionError(msg)
    model: ir.Model = ir.from_proto(onnx_files.load(source))  # `to_ir` would store a tied table a second time
    if cache is not None:
        layout = layout.model_copy(update={"cache_bits": cache.bits})
    model = with_cache(model, layout, logits=logits, cache=cache)
    proto = graphs.to_proto(model)
    onnx_files.check(proto)
    onnx_files.save(proto, path)
    return layout


def with_cache(
    model: ir.Model, layout: DecoderLayout, *, logits: Logits = "last", cache: QuantizedCache | None = None
) -> ir.Model:
    """A copy of a decoder with past keys and values; arguments and errors as for `write_cached`."""
    copy = graphs.with_shapes(model)
    builder = CacheBuilder(copy, layout, cache)
    for index, layer in enumerate(layout.layers):
        builder.replace_attention(index, layer)
    if layout.positions:
        builder.replace_positions()
    if logits == LAST:
        builder.keep_last_logits()
    divide_by_root(copy)
    builder.finish(LAST if logits == LAST else ALL)
    return copy


class CacheBuilder:
    """Adds the inputs and outputs of a cache to a graph, in place.

    Args:
        model: The network, with shapes.
        layout: Its attention layers.
        cache: Scales of integers; None for float32.

    Attributes:
        names: Inputs with the tokens, and with the mask of these and earlier ones.
        bias: Added to the scores of each layer, (1, heads, L, P + L); None for none.
    """

    names: ClassVar[tuple[str, str]] = (IDS, MASK)
    bias: ir.Value | None = None

    def __init__(self, model: ir.Model, layout: DecoderLayout, cache: QuantizedCache | None = None) -> None:
        self.model, self.layout, self.cache = model, layout, cache
        inputs = {str(value.name): value for value in model.graph.inputs}
        if not {*self.names} <= inputs.keys():
            msg = gettext(
                "a decoder needs the inputs {needed}; it has {found}", needed=", ".join(self.names), found=", ".join(inputs)
            )
            raise ConversionError(msg)
        self.ids, self.mask = (inputs[name] for name in self.names)
        self.batch, self.length = self._axis(self.ids, 0), self._axis(self.ids, 1)
        self.first = model.graph[0]
        self.seen, self.total = self._lengths()
        self.angles = self._angles()
        self.presents: list[ir.Value] = []

    @staticmethod
    def _axis(value: ir.Value, index: int) -> int | ir.SymbolicDim:
        assert value.shape is not None  # noqa: S101  # inputs of an exported graph have shapes
        return value.shape[index]

    def _lengths(self) -> tuple[ir.Value, ir.Value]:
        """Index of the last token of each sample, int32 (B,), and the total length, int32 ()."""
        for use in tuple(self.mask.uses()):
            if use.node.op_type == "Shape":  # the number of tokens, which is that of the mask no longer
                use.node.replace_input_with(use.idx, self.ids)
        self.mask.shape = ir.Shape([self.batch, ir.SymbolicDim(TOTAL_LENGTH)])
        axis = graphs.add_initializer(self.model, "cache_axis", np.array([1], np.int64))
        one = graphs.add_initializer(self.model, "cache_one", np.array(1, np.int64))
        count = graphs.make_node("ReduceSum", [self.mask, axis], ["cache_count"], keepdims=0)
        last = graphs.make_node("Sub", [count.outputs[0], one], ["cache_last"])
        seen = graphs.make_node("Cast", last.outputs, ["cache_seqlens_k"], to=ir.DataType.INT32.value)
        shape = graphs.make_node("Shape", [self.mask], ["cache_shape"])
        length = graphs.make_node("Gather", [shape.outputs[0], one], ["cache_length"], axis=0)
        total = graphs.make_node("Cast", length.outputs, ["cache_total"], to=ir.DataType.INT32.value)
        self.model.graph.insert_before(self.first, [count, last, seen, shape, length, total])
        return seen.outputs[0], total.outputs[0]

    def _angles(self) -> tuple[ir.Value, ir.Value] | None:
        """Cosine and sine of the angles of each position, (context, width / 2); None without rotary positions."""
        if not self.layout.frequencies:
            return None
        steps = np.arange(self.layout.context, dtype=np.float32)[:, None]
        angles = steps * np.array(self.layout.frequencies, np.float32)
        factor = np.float32(self.layout.rotary_scale)
        cosine, sine = (function(angles).astype(np.float32) * factor for function in (np.cos, np.sin))
        cos, sin = (
            graphs.add_initializer(self.model, f"{name}_cache", values) for name, values in (("cos", cosine), ("sin", sine))
        )
        return cos, sin

    def replace_attention(self, index: int, layer: AttentionLayer) -> None:
        """Replace what stands between the projections of a layer by the fused attention with past and present."""
        output = find_layer(self.model, layer.output)
        attended = layer_input(output)
        if layer.is_joint:
            parts = joint_results(find_layer(self.model, layer.query))
        else:
            names = (layer.query, layer.key, layer.value)
            query, key, value = (layer_result(find_layer(self.model, name)) for name in names)
            parts = query, key, value
        pasts, presents = self._cache(index, layer)
        settings: dict[str, float | int | str] = {"num_heads": layer.heads, "kv_num_heads": layer.groups, "scale": layer.scale}
        inputs: list[ir.Value | None] = [*parts, *pasts, self.seen, self.total]
        if self.angles is not None:
            inputs += self.angles
            settings |= {"do_rotary": 1, "rotary_interleaved": 0}
        if self.bias is not None:
            inputs += [None] * BEFORE_BIAS + [self.bias]
        if self.cache is not None:
            inputs += [None] * (OTHER_INPUTS if self.angles is not None else OTHER_INPUTS + 2)
            inputs += self._scales(index, self.cache)
            settings |= {"kv_cache_bit_width": self.cache.bits}
            settings |= {"k_quant_type": "PER_CHANNEL", "v_quant_type": "PER_CHANNEL"}
        if self.layout.window is not None:
            settings["local_window_size"] = self.layout.window
        path = layer.output.rpartition(".")[0]
        result = ir.Value(
            name=f"{path}.attention",
            type=ir.TensorType(ir.DataType.FLOAT),
            shape=ir.Shape([self.batch, self.length, layer.heads * layer.width]),
        )
        node = ir.node(
            "GroupQueryAttention", inputs, settings, domain=DOMAIN, version=VERSION,
            name=f"{path}/GroupQueryAttention", outputs=[result, *presents],
        )  # fmt: skip
        self._insert(node, attended, result)
        self.presents += presents

    def _scales(self, index: int, cache: QuantizedCache) -> list[ir.Value]:
        """Scales of the keys and values of a layer as constants."""
        return [
            graphs.add_initializer(self.model, f"cache.{index}.{part}_scale", array.astype(np.float32))
            for part, array in zip(PARTS, cache.scales[index], strict=True)
        ]

    def _insert(self, node: ir.Node, attended: ir.Value, result: ir.Value) -> None:
        """Make the output layer read the fused attention; a reshape of all tokens into rows stays."""
        reshape = attended.producer()
        is_rows = (
            reshape is not None and reshape.op_type == "Reshape" and attended.shape is not None and len(attended.shape) == 2
        )
        if is_rows and reshape is not None:
            self.model.graph.insert_before(reshape, node)
            reshape.replace_input_with(0, result)
            return
        self.model.graph.insert_before(self._first([use.node for use in attended.uses()]), node)
        attended.replace_all_uses_with(result)

    def _first(self, nodes: Sequence[ir.Node]) -> ir.Node:
        """The first of some nodes in the order of the graph."""
        return next(node for node in self.model.graph if any(node is each for each in nodes))

    def _cache(self, index: int, layer: AttentionLayer) -> tuple[list[ir.Value], list[ir.Value]]:
        """Past and present keys and values of a layer; the past ones become inputs of the graph."""

        def tensor(template: str, part: str, length: str) -> ir.Value:
            kind, per_byte = CACHE_TYPES[self.layout.cache_bits]
            return ir.Value(
                name=template.format(layer=index, part=part),
                type=ir.TensorType(kind),
                shape=ir.Shape([self.batch, layer.groups, ir.SymbolicDim(length), layer.width // per_byte]),
            )

        pasts = [tensor(PAST, part, PAST_LENGTH) for part in PARTS]
        self.model.graph.inputs.extend(pasts)
        return pasts, [tensor(PRESENT, part, TOTAL_LENGTH) for part in PARTS]

    def replace_positions(self) -> None:
        """Make the lookup of learned positions read the positions of the tokens, a further input."""
        node = find_layer(self.model, self.layout.positions, LOOKUPS)
        positions = ir.Value(name=POSITIONS, type=ir.TensorType(ir.DataType.INT64), shape=ir.Shape([self.batch, self.length]))
        self.model.graph.inputs.insert(2, positions)
        read_rows(node, positions)

    def keep_last_logits(self) -> None:
        """Give the head the last token alone."""
        node = find_layer(self.model, self.layout.head)
        hidden = layer_input(node)
        readers = [use.node for use in hidden.uses()]
        last = graphs.add_initializer(self.model, "last_token", np.array([-1], np.int64))
        gather = graphs.make_node("Gather", [hidden, last], [f"{hidden.name}_last"], "last_token/Gather", axis=1)
        hidden.replace_all_uses_with(gather.outputs[0])
        gather.replace_input_with(0, hidden)
        self.model.graph.insert_before(self._first(readers), gather)

    def finish(self, logits: str) -> None:
        """Add the outputs, remove what no output needs, and drop shapes inside that no longer hold."""
        graph = self.model.graph
        graph.outputs.extend(self.presents)
        RemoveUnusedNodesPass()(self.model)
        named: Sequence[ir.Value] = (*graph.inputs, *graph.outputs)
        for node in graph:
            for value in node.outputs:
                if not any(value is each for each in named) and node.domain != DOMAIN:
                    value.shape = None
        first = graph.outputs[0]
        if logits == LAST and first.shape is not None:
            first.shape = ir.Shape([self.batch, 1, first.shape[2]])
        self.model.opset_imports.setdefault(DOMAIN, VERSION)
        self.model.metadata_props[CACHED] = logits
        self.model.metadata_props[METADATA] = self.layout.model_dump_json()
