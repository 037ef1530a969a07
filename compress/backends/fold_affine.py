"""Fold products and sums with constants into the convolution or matrix product before or after them.

    s (W x + b) + o = (s W) x + (s b + o)        after the layer: s and o per channel
    W (s x + o) + b = (s W) x + (b + W o)        before it: s and o scalars; with o only without padding

A batch normalization is s = γ / √(σ² + ε), o = β − s μ. Files of other exporters have these as operators of their own, which
take time, and in int8 each rounds its result.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from compress.backends import onnx_graph as graphs

LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
FACTORS, TERMS = ("Mul", "Div"), ("Add", "Sub")


@dataclass(frozen=True, eq=False)
class AffineMap:
    """y = s x + o with constants.

    Attributes:
        node: The operator.
        scale: s, scalar or per channel, (1,) or (K,).
        offset: o, likewise.
    """

    node: ir.Node
    scale: np.ndarray
    offset: np.ndarray


def fold_affine(model: ir.Model) -> None:
    """Fold affine operators into layers, in place; weights that several operators read stay as they are."""
    for node in list(model.graph):
        if node.op_type not in LAYERS or not _has_own_weight(node):
            continue
        while (after := _after(node)) is not None:
            _fold_after(model, node, after)
        while (before := _before(node)) is not None:
            _fold_before(model, node, before)


def _has_own_weight(node: ir.Node) -> bool:
    weight, bias = node.inputs[1], _bias(node)
    if weight is None or not weight.is_initializer() or weight.is_graph_input() or len(weight.uses()) != 1:
        return False
    attributes = graphs.attributes(node)
    plain = attributes.get("alpha", 1.0) == attributes.get("beta", 1.0) == 1.0 and not attributes.get("transA")
    values = graphs.constant(weight)
    is_float32 = values is not None and values.dtype == np.float32 and (node.op_type != "MatMul" or values.ndim == 2)
    return plain and is_float32 and (bias is None or graphs.constant(bias) is not None)


def _bias(node: ir.Node) -> ir.Value | None:
    return node.inputs[2] if len(node.inputs) > 2 else None


def _weight(node: ir.Node) -> np.ndarray:
    return np.asarray(graphs.constant(node.inputs[1]))


def _channels(node: ir.Node) -> int:
    """Number of output channels."""
    weight, attributes = _weight(node), graphs.attributes(node)
    if node.op_type == "ConvTranspose":
        return int(weight.shape[1] * attributes.get("group", 1))
    return int(weight.shape[0] if node.op_type == "Conv" or attributes.get("transB") else weight.shape[-1])


def _after(node: ir.Node) -> AffineMap | None:
    """The affine operator that alone reads the output of a layer, if it can be folded."""
    output = node.outputs[0]
    if len(output.uses()) != 1 or output.is_graph_output():
        return None
    reader = output.consumers()[0]
    affine = _batch_norm(reader) if reader.op_type == "BatchNormalization" else _map_of(reader, output)
    if affine is None or (node.op_type == "MatMul" and affine.offset.any()):  # a MatMul has no bias
        return None
    rank = _weight(node).ndim
    channels, is_conv = _channels(node), node.op_type in ("Conv", "ConvTranspose")
    parts = [
        _per_channel(values, channels, rank if is_conv else 1, 1 if is_conv else 0) for values in (affine.scale, affine.offset)
    ]
    scale, offset = parts
    return None if scale is None or offset is None else AffineMap(reader, scale, offset)


def _map_of(node: ir.Node, x: ir.Value) -> AffineMap | None:
    """A product or sum of a tensor with a constant."""
    if node.op_type not in (*FACTORS, *TERMS) or (node.op_type in ("Div", "Sub") and node.inputs[0] is not x):
        return None
    other = node.inputs[1] if node.inputs[0] is x else node.inputs[0]
    values = graphs.constant(other)
    if values is None or values.dtype != np.float32 or (node.op_type == "Div" and not values.all()):
        return None
    one, zero = np.ones(1, np.float32), np.zeros(1, np.float32)
    if node.op_type in FACTORS:
        return AffineMap(node, values if node.op_type == "Mul" else 1 / values, zero)
    return AffineMap(node, one, values if node.op_type == "Add" else -values)


def _batch_norm(node: ir.Node) -> AffineMap | None:
    values = [graphs.constant(value) for value in node.inputs[1:5]]
    attributes = graphs.attributes(node)
    if any(value is None for value in values) or attributes.get("training_mode") or len(node.outputs) > 1:
        return None
    gamma, beta, mean, variance = (np.asarray(value, np.float64) for value in values)
    scale = gamma / np.sqrt(variance + attributes.get("epsilon", 1e-5))
    return AffineMap(node, scale, beta - scale * mean)


def _per_channel(values: np.ndarray, channels: int, rank: int, axis: int) -> np.ndarray | None:
    """Constants as (1,) or (K,); None unless they vary along the axis of the channels alone."""
    if values.ndim > rank:
        return None
    if values.size == 1:
        return values.reshape(1)
    is_vector = values.ndim == 1 and values.size == channels and rank > 1  # of a batch normalization
    shape = (1,) * (rank - values.ndim) + values.shape
    expected = tuple(channels if index == axis else 1 for index in range(rank))
    return values.reshape(channels) if is_vector or shape == expected else None


def _fold_after(model: ir.Model, node: ir.Node, affine: AffineMap) -> None:
    weight, channels = _weight(node), _channels(node)
    scale = np.broadcast_to(affine.scale.astype(np.float64), (channels,))
    if node.op_type == "ConvTranspose":
        groups = graphs.attributes(node).get("group", 1)
        by_group = weight.reshape(groups, weight.shape[0] // groups, *weight.shape[1:])
        shape = (groups, 1, channels // groups) + (1,) * (weight.ndim - 2)
        scaled = (by_group * scale.reshape(shape)).reshape(weight.shape)
    else:
        by_row = node.op_type == "Conv" or graphs.attributes(node).get("transB")
        scaled = weight * scale.reshape((channels,) + (1,) * (weight.ndim - 1) if by_row else (channels,))
    bias = graphs.constant(_bias(node))
    before = np.zeros(channels) if bias is None else np.broadcast_to(bias.reshape(-1), (channels,))
    _set(model, node, scaled, before * scale + affine.offset)
    result, output = affine.node.outputs[0], node.outputs[0]
    name, was_output = result.name, result.is_graph_output()
    output.type, output.shape = result.type or output.type, result.shape or output.shape
    result.replace_all_uses_with(output, replace_graph_outputs=was_output)
    model.graph.remove(affine.node, safe=True)
    result.name, output.name = None, name


def _before(node: ir.Node) -> AffineMap | None:
    """The affine operator with scalars whose output a layer alone reads, if it can be folded."""
    x = node.inputs[0]
    producer = None if x is None else x.producer()
    if x is None or producer is None or len(x.uses()) != 1 or x.is_graph_output() or node.op_type != "Conv":
        return None
    for value in producer.inputs:
        affine = None if value is None or graphs.constant(value) is not None else _map_of(producer, value)
        if affine is not None and affine.scale.size == affine.offset.size == 1:
            rank = _weight(node).ndim
            plain = max(affine.scale.ndim, affine.offset.ndim) <= rank
            return affine if plain and (not affine.offset.any() or not _is_padded(node)) else None
    return None


def _is_padded(node: ir.Node) -> bool:
    attributes = graphs.attributes(node)
    return any(attributes.get("pads", ())) or attributes.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID")


def _fold_before(model: ir.Model, node: ir.Node, affine: AffineMap) -> None:
    weight, channels = _weight(node).astype(np.float64), _channels(node)
    bias = graphs.constant(_bias(node))
    offset = weight.sum(axis=tuple(range(1, weight.ndim))) * float(affine.offset.reshape(-1)[0])
    _set(model, node, weight * float(affine.scale.reshape(-1)[0]), (np.zeros(channels) if bias is None else bias) + offset)
    source = next(value for value in affine.node.inputs if value is not None and graphs.constant(value) is None)
    node.replace_input_with(0, source)
    model.graph.remove(affine.node, safe=True)


def _set(model: ir.Model, node: ir.Node, weight: np.ndarray, bias: np.ndarray) -> None:
    """Replace weight and bias of a layer; a bias of zeros is not added."""
    value = node.inputs[1]
    assert value is not None  # noqa: S101  # see _has_own_weight
    graphs.set_constant(value, weight.astype(np.float32))
    old = _bias(node)
    if old is not None and len(old.uses()) == 1 and old.is_initializer():
        graphs.set_constant(old, bias.astype(np.float32))
    elif old is not None or bias.any():
        node.resize_inputs(max(3, len(node.inputs)))
        node.replace_input_with(2, graphs.add_initializer(model, f"{value.name}_folded_bias", bias.astype(np.float32)))
