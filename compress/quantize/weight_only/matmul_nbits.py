"""Linear layers as `MatMulNBits` of ONNX Runtime: 4- or 8-bit weights in blocks, multiplied without unpacking them first.

`accuracy_level` says how the products are computed: 0 and 1 in float32; 4 rounds the activations to int8 per block, which is
faster with few rows and loses accuracy. ONNX Runtime takes 4 by default where it converts a network itself; here the level is
always written into the file.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np
import onnx_ir as ir

from compress.backends import onnx_graph as graphs
from compress.core.fact import Fact
from compress.quantize.dynamic.embeddings import quantize_embeddings
from compress.quantize.ptq.pipeline import PassResult
from compress.quantize.ptq.weighted_layers import LINEAR, WeightedLayer, weighted_layers
from compress.quantize.weight_only.block_tables import StoredWeight, look_up_blocks, store
from compress.quantize.weight_only.head_and_tables import HeadAndTables, tables
from compress.quantize.weight_only.round_blocks import BlockOptions, Weights, round_blocks

DOMAIN, VERSION = "com.microsoft", 1
BYTES_LEVEL = 4
"""Accuracy level of 8-bit layers: without it, ONNX Runtime unpacks the weights at each run, in 9 to 30 times the time."""
OTHERS = HeadAndTables()


def blockwise_layers(
    model: ir.Model,
    bits: int,
    *,
    block: int = 32,
    symmetric: bool = False,
    accuracy_level: int = 0,
    exclude: Sequence[str] = (),
) -> ir.Model:
    """Replace linear layers by `MatMulNBits`, rounded to the nearest, and embedding tables by int8.

    Args:
        model: Float network; not changed.
        bits: 4 or 8.
        block: Inputs that share a scale: a power of 2 from 16.
        symmetric: Zero points are in the middle of the range.
        accuracy_level: See above.
        exclude: Names of nodes that are not quantized.
    """
    return rounded_layers(model, BlockOptions(bits, block, symmetric), accuracy_level=accuracy_level, exclude=exclude).model


def linear_layers(model: ir.Model, exclude: Sequence[str] = ()) -> list[WeightedLayer]:
    """Linear layers with constant weights, shared ones among them."""
    return [layer for layer in weighted_layers(model, shared=True) if layer.operator in LINEAR and layer.name not in exclude]


def round_layers(
    model: ir.Model, options: BlockOptions, *, exclude: Sequence[str] = (), parts: HeadAndTables = OTHERS
) -> tuple[Weights, tuple[Fact, ...]]:
    """The matrices that `rounded_layers` writes, and notes on the error of rounding; see there."""
    layers = linear_layers(model, parts.excluded(model, exclude))
    return round_blocks(model, layers, _with_parts(model, options, layers, parts)[0])


def _with_parts(
    model: ir.Model, options: BlockOptions, layers: Sequence[WeightedLayer], parts: HeadAndTables
) -> tuple[BlockOptions, Mapping[str, WeightedLayer]]:
    """The options with the bits of the output layer, and output layers by name of the table whose integers they share."""
    tied = parts.tied(model, layers, options.bits)
    bits = {**options.bits_by_layer, **parts.bits_by_layer(model, options.bits)}
    return replace(options, bits_by_layer=bits, without_data=[layer.name for layer in tied.values()]), tied


def rounded_layers(
    model: ir.Model,
    options: BlockOptions,
    *,
    accuracy_level: int = 0,
    exclude: Sequence[str] = (),
    parts: HeadAndTables = OTHERS,
) -> PassResult:
    """Replace linear layers by `MatMulNBits`, and embedding tables by integers; convolutions stay in float.

    Args:
        model: Float network; not changed.
        options: How matrices are rounded; the block is a power of 2 from 16.
        accuracy_level: See above; of layers with 8 bits it is 4 where other layers have fewer.
        exclude: Names of nodes that are not quantized.
        parts: Bits of the output layer and of tables.

    Returns:
        The network, and notes on the error of rounding.
    """
    exclude = parts.excluded(model, exclude)
    copy = model.clone()
    layers = linear_layers(copy, exclude)
    nodes = {str(node.name): node for node in copy.graph}
    options, tied = _with_parts(model, options, layers, parts)
    rounded, notes = round_blocks(model, layers, options)
    stored: dict[tuple[str, int], StoredWeight] = {}
    for layer in layers:
        if layer.key not in stored:
            stored[layer.key] = store(copy, f"{layer.weight}_{layer.axis}", rounded[layer.key], symmetric=options.symmetric)
        level = accuracy_level if options.bits_of(layer.name) == options.bits else BYTES_LEVEL
        _replace(copy, nodes[layer.name], stored[layer.key], level)
    for name in {layer.weight for layer in layers}:
        if not copy.graph.initializers[name].uses():
            del copy.graph.initializers[name]
    if isinstance(parts.embedding, int):
        shared = {name: stored[layer.key] for name, layer in tied.items()}
        look_up_blocks(copy, shared | _store_tables(copy, options, parts.embedding, {*shared}, exclude))
    else:
        quantize_embeddings(copy, exclude=exclude)
    if any(node.domain == DOMAIN for node in copy.graph):
        copy.graph.opset_imports[DOMAIN] = VERSION
    return PassResult(copy, notes=notes)


def _store_tables(
    model: ir.Model, options: BlockOptions, bits: int, others: Collection[str], exclude: Sequence[str]
) -> dict[str, StoredWeight]:
    """Integers of tables that no layer shares, by name of the table."""
    chosen = [
        value for value in tables(model)
        if value.name not in others and not any(str(node.name) in exclude for node in value.consumers())
    ]  # fmt: skip
    rounded = {str(value.name): options.round_table(np.asarray(graphs.constant(value)), bits) for value in chosen}
    return {name: store(model, name, weight, symmetric=options.symmetric) for name, weight in rounded.items()}


def _replace(model: ir.Model, node: ir.Node, stored: StoredWeight, accuracy_level: int) -> None:
    """Replace a layer; a bias of a Gemm becomes an Add, which ONNX Runtime fuses."""
    y = node.outputs[0]
    name = str(y.name)
    weight = stored.weight
    settings = {
        "K": weight.inputs, "N": len(weight.q), "bits": weight.bits, "block_size": stored.block,
        "accuracy_level": accuracy_level,
    }  # fmt: skip
    product = ir.node(
        "MatMulNBits", [node.inputs[0], *stored.constants], settings, domain=DOMAIN, name=str(node.name),
        outputs=[ir.Value(name=f"{name}_product")],
    )  # fmt: skip
    nodes = [product]
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        nodes.append(graphs.make_node("Add", [product.outputs[0], node.inputs[2]], [f"{name}_biased"]))
    model.graph.insert_before(node, nodes)
    result = nodes[-1].outputs[0]
    result.type, result.shape = y.type, y.shape
    y.name = f"{name}_float"
    y.replace_all_uses_with(result, replace_graph_outputs=True)
    result.name = name
    model.graph.remove(node, safe=True)
