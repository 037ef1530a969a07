"""Linear layers as `MatMulNBits` of ONNX Runtime: 4- or 8-bit weights in blocks, multiplied without unpacking them first.

`accuracy_level` says how the products are computed: 0 and 1 in float32; 4 rounds the activations to int8 per block, which is
faster with few rows and loses accuracy. ONNX Runtime takes 4 by default where it converts a network itself; here the level is
always written into the file.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from compress.backends import onnx_graph as graphs
from compress.quantize.dynamic.embeddings import quantize_embeddings
from compress.quantize.ptq.pipeline import PassResult
from compress.quantize.ptq.weighted_layers import LINEAR, WeightedLayer, weighted_layers
from compress.quantize.weight_only.blockwise import BlockwiseWeight
from compress.quantize.weight_only.round_blocks import BlockOptions, round_blocks

DOMAIN, VERSION = "com.microsoft", 1


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


def rounded_layers(
    model: ir.Model, options: BlockOptions, *, accuracy_level: int = 0, exclude: Sequence[str] = ()
) -> PassResult:
    """Replace linear layers by `MatMulNBits`, and embedding tables by int8; convolutions stay in float.

    Args:
        model: Float network; not changed.
        options: How matrices are rounded; the block is a power of 2 from 16.
        accuracy_level: See above.
        exclude: Names of nodes that are not quantized.

    Returns:
        The network, and notes on the error of rounding.
    """
    copy, bits, block, symmetric = model.clone(), options.bits, options.block, options.symmetric
    layers = [layer for layer in weighted_layers(copy, shared=True) if layer.operator in LINEAR and layer.name not in exclude]
    nodes = {str(node.name): node for node in copy.graph}
    rounded, notes = round_blocks(model, layers, options)
    stored: dict[tuple[str, int], list[ir.Value]] = {}
    for layer in layers:
        key = layer.weight, layer.axis
        weight = rounded[key]
        if key not in stored:
            stored[key] = _store(copy, layer, weight, symmetric=symmetric)
        constants = stored[key]
        settings = {"K": weight.inputs, "N": len(weight.q), "bits": bits, "block_size": block, "accuracy_level": accuracy_level}
        _replace(copy, nodes[layer.name], constants, settings)
    for name in {layer.weight for layer in layers}:
        if not copy.graph.initializers[name].uses():
            del copy.graph.initializers[name]
    quantize_embeddings(copy, exclude=exclude)
    if layers:
        copy.graph.opset_imports[DOMAIN] = VERSION
    return PassResult(copy, notes=notes)


def _store(model: ir.Model, layer: WeightedLayer, weight: BlockwiseWeight, *, symmetric: bool) -> list[ir.Value]:
    """Integers, scales and, unless the default, zero points of a weight as constants."""
    integers, zero_points = weight.packed()
    arrays = {"q": integers, "s": weight.s} | ({} if symmetric else {"z": zero_points})
    prefix = f"{layer.weight}_{layer.axis}"
    return [graphs.add_initializer(model, f"{prefix}_{part}", np.ascontiguousarray(array)) for part, array in arrays.items()]


def _replace(model: ir.Model, node: ir.Node, constants: list[ir.Value], settings: dict[str, int]) -> None:
    """Replace a layer; a bias of a Gemm becomes an Add, which ONNX Runtime fuses."""
    y = node.outputs[0]
    name = str(y.name)
    product = ir.node(
        "MatMulNBits", [node.inputs[0], *constants], settings, domain=DOMAIN, name=str(node.name),
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
