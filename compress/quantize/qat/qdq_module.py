"""Quantization-aware training: a network learns in the grid that it will be computed in, then stands in the same Q/DQ graph.

    float ONNX ─► Q/DQ pairs of the runtime ─► replayed with fake quantization ─► trained ─► weights, steps, ranges ─► Q/DQ

Jacob et al. 2018, arXiv:1712.05877, section 3: batch norms are folded first and their statistics frozen, weights and
activations go through the rounding of inference (`fake`). Pairs stand at the very tensors where the runtime family's placement
puts them, because it is that family's graph that is replayed. Steps are learned as in LSQ (Esser et al. 2020,
arXiv:1902.08153) or stay where calibration put them; zero points stay. What was learned replaces the integers, ranges, weights
and biases that the ladder had found, and the file is written as without training.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx

from compress.quantize.ptq.quantized_weight import QuantizedWeight, int_range, round_to_nearest
from compress.quantize.ptq.weighted_layers import WeightedLayer, read_weight, weighted_layers, with_weights
from compress.quantize.qat.fake_quantize import FakeQuantize
from compress.quantize.qat.onnx_to_torch import OnnxModule, module_key, to_torch
from compress.quantize.static_int8 import Ranges, StaticInt8Plan


def to_fake_quantized(static: StaticInt8Plan, family: str, exclude: tuple[str, ...], *, bits: int, learned: bool) -> OnnxModule:
    """The network of one family with fake quantization, to be trained.

    Args:
        static: What the ladder and calibration gave.
        family: Whose placement it is.
        exclude: Names of nodes that stay in float; their weights are trained all the same.
        bits: Of weights.
        learned: Whether steps may be trained.

    Raises:
        ConversionError: An operator has no counterpart with gradients.
    """
    layers = {layer.name: layer for layer in weighted_layers(static.model)}
    weights = {layer.weight: read_weight(static.model, layer.weight) for layer in layers.values()}
    made = static.with_qdq(family, exclude)
    return to_torch(made, layers, weights=weights, limits=int_range(bits), learned=learned)


def export_learned(
    static: StaticInt8Plan, family: str, exclude: tuple[str, ...], module: OnnxModule, *, bits: int
) -> StaticInt8Plan:
    """The same as `static` with what a module of `to_fake_quantized` has learned.

    Families other than the one that was trained get its weights, and its ranges where they watch the same tensor.
    """
    layers = {layer.name: layer for layer in weighted_layers(static.model)}
    values, grids = dict[str, np.ndarray](), dict(static.grids)
    for layer in layers.values():
        part = module.layers[module_key(layer.name)]
        w = _array(part.weight)
        values[layer.weight] = w
        if layer.bias:
            values[layer.bias] = _array(part.bias)
        if isinstance(part.rounder, FakeQuantize):
            grids[layer.weight] = _grid(w, layer, part.rounder, bits)
    ranges = learned_ranges(static, family, exclude, module)
    return replace(static, model=with_weights(static.model, values), grids=grids, ranges=ranges)


def learned_ranges(static: StaticInt8Plan, family: str, exclude: tuple[str, ...], module: OnnxModule) -> dict[str, Ranges]:
    """All families' ranges with what a module of one family has learned, where they watch the same tensor."""
    found = _reached(static.with_qdq(family, exclude), module)
    return {
        name: {**own, **{tensor: found[tensor] for tensor in own if tensor in found}} for name, own in static.ranges.items()
    }


def _grid(w: np.ndarray, layer: WeightedLayer, rounder: FakeQuantize, bits: int) -> QuantizedWeight:
    matrix = layer.to_matrix(w)
    s = np.broadcast_to(_array(rounder.scale).reshape(-1), matrix.shape[0] * matrix.shape[1]).reshape(matrix.shape[:2])
    return QuantizedWeight(round_to_nearest(matrix, s, bits), np.ascontiguousarray(s), rounder.axis is not None)


def _reached(made: onnx.ModelProto, module: OnnxModule) -> Ranges:
    """What the integers of each tensor reach, by tensor."""
    found: Ranges = {}
    around_zero = {one.name for one in made.graph.initializer if one.data_type == onnx.TensorProto.INT8}
    rounders = {key: one for key, one in module.rounders.items() if isinstance(one, FakeQuantize)}
    for node in made.graph.node:
        if node.op_type != "QuantizeLinear":
            continue
        rounder = rounders[module_key(node.input[1])]
        s, signed = float(rounder.scale.detach()), node.input[2] in around_zero
        found[node.input[0]] = (s * (-rounder.high if signed else rounder.low), s * rounder.high)
    return found


def _array(tensor: object) -> np.ndarray:
    found: np.ndarray = np.array(tensor.detach().cpu().numpy(), np.float32)  # type: ignore[attr-defined]
    return found
