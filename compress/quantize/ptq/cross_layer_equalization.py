"""Cross-layer equalization: channels between two layers are rescaled so that both weights use their range alike.

Nagel et al. 2019, Data-Free Quantization, arXiv:1906.04721. Through f with f(s x) = s f(x) for s > 0 (ReLU, identity)

    W₂ f(W₁ x + b₁) = (W₂ S) f(S⁻¹ W₁ x + S⁻¹ b₁),     S = diag(s),    s_i = √(r₁_i r₂_i) / r₂_i,

with r₁_i = max |W₁[i, :]| and r₂_i = max |W₂[:, i]| the two ranges of channel i (section 4.1). It is repeated over all pairs
until the factors are near 1. High biases that this makes are absorbed by the next layer (section 4.1.3), with
c_i = max(0, μ_i − 3 σ_i):

    b₁ ← b₁ − c,   b₂ ← b₂ + W₂ c,

which changes nothing where W₁ x + b₁ > c, nearly always. Not done before a convolution that pads: its border sees zeros, not c.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx

from compress.core.record import Skipped
from compress.quantize.ptq.weighted_layers import WeightedLayer, read_weight, weighted_layers, with_biases, with_weights

SWEEPS = 20
CONVERGED = 1e-3
DEVIATIONS = 3.0


@dataclass(frozen=True)
class LayerPair:
    """Two layers with nothing between them that a positive factor does not pass through.

    Attributes:
        first: Its outputs are scaled.
        second: Its inputs are scaled back.
        rectified: A ReLU stands between.
    """

    first: WeightedLayer
    second: WeightedLayer
    rectified: bool


def equalization_factors(r1: np.ndarray, r2: np.ndarray) -> np.ndarray:
    """s, (C,), of the ranges above; 1 where a channel is dead on either side."""
    alive = (r1 > 0) & (r2 > 0)
    safe: np.ndarray = np.where(alive, np.sqrt(np.where(alive, r1, 1.0) / np.where(alive, r2, 1.0)), 1.0)
    return safe


def find_pairs(model: onnx.ModelProto) -> tuple[tuple[LayerPair, ...], tuple[Skipped, ...]]:
    """Pairs that can be equalized without changing the function, and those that cannot, with the reason."""
    layers = {layer.output: layer for layer in weighted_layers(model)}
    readers = Counter(name for node in model.graph.node for name in node.input)
    readers.update(value.name for value in model.graph.output)
    maker = {name: node for node in model.graph.node for name in node.output}
    found, skipped = [], []
    for second in layers.values():
        name, through = second.input, None
        if (node := maker.get(name)) is not None and node.op_type in ("Relu", "Clip") and readers[name] == 1:
            name, through = node.input[0], node.op_type
        first = layers.get(name)
        if first is None or readers[name] != 1:
            continue
        if through == "Clip":
            reason = "a clip stands between, which a factor does not pass through; stage `substitute` can replace ReLU6 by ReLU"
            skipped.append(Skipped(what=f"equalization of {first.name} and {second.name}", reason=reason))
        elif (first.operator == "Conv") == (second.operator == "Conv"):
            found.append(LayerPair(first, second, rectified=through == "Relu"))
    return tuple(found), tuple(skipped)


def equalize(model: onnx.ModelProto) -> tuple[onnx.ModelProto, int]:
    """Equalize all pairs; the function stays the same.

    Returns:
        A copy, and the number of pairs.
    """
    pairs, _ = find_pairs(model)
    names = {name for pair in pairs for layer in (pair.first, pair.second) for name in (layer.weight, layer.bias) if name}
    values = {name: read_weight(model, name) for name in names}
    for _ in range(SWEEPS):
        change = max((_equalize_pair(values, pair) for pair in pairs), default=0.0)
        if change < CONVERGED:
            break
    return with_weights(model, values), len(pairs)


def _equalize_pair(values: dict[str, np.ndarray], pair: LayerPair) -> float:
    """Rescale one pair; the largest |log s|."""
    first, second = pair.first, pair.second
    w1, w2 = first.to_matrix(values[first.weight]), by_input(values[second.weight], second)
    s = equalization_factors(np.abs(w1).max(2).reshape(-1), np.abs(w2).max(1))
    divide_outputs(values, first, s)
    multiply_inputs(values, second, s)
    return float(np.abs(np.log(s)).max(initial=0.0))


def divide_outputs(values: dict[str, np.ndarray], layer: WeightedLayer, s: np.ndarray) -> None:
    """W ← diag(s)⁻¹ W and b ← diag(s)⁻¹ b, in place; `values` holds weights and biases as stored, by initializer."""
    w = layer.to_matrix(values[layer.weight])
    values[layer.weight] = layer.from_matrix(w / s.reshape(*w.shape[:2], 1), values[layer.weight])
    if layer.bias:
        values[layer.bias] = values[layer.bias] / s


def multiply_inputs(values: dict[str, np.ndarray], layer: WeightedLayer, s: np.ndarray) -> None:
    """W ← W diag(s), likewise."""
    rows = by_input(values[layer.weight], layer) * s[:, None]
    values[layer.weight] = _from_input(rows, values[layer.weight], layer)


def absorb_high_biases(
    model: onnx.ModelProto, means: Mapping[str, np.ndarray], deviations: Mapping[str, np.ndarray]
) -> onnx.ModelProto:
    """Move high biases into the next layer.

    Args:
        model: Equalized network.
        means: μ of each channel of the output of a pair's first layer, before the ReLU, by tensor name, (C,).
        deviations: σ likewise.
    """
    pairs = [pair for pair in find_pairs(model)[0] if pair.rectified and not _padded(model, pair.second)]
    model = with_biases(model, [layer for pair in pairs for layer in (pair.first, pair.second)])
    layers = {layer.name: layer for layer in weighted_layers(model)}
    values: dict[str, np.ndarray] = {}
    for pair in pairs:
        first, second = layers[pair.first.name], layers[pair.second.name]
        if not (first.bias and second.bias and first.output in means):
            continue
        c = np.maximum(0.0, means[first.output] - DEVIATIONS * deviations[first.output])
        b1, b2 = (values.get(layer.bias, read_weight(model, layer.bias)) for layer in (first, second))
        w2 = second.to_matrix(read_weight(model, second.weight))
        kernel = w2.shape[2] // (len(c) // second.groups)
        share = np.repeat(c.reshape(second.groups, -1), kernel, axis=1)
        values[first.bias] = b1 - c
        values[second.bias] = b2 + np.einsum("gkd,gd->gk", w2, share).reshape(-1)
    return with_weights(model, values)


def by_input(weight: np.ndarray, layer: WeightedLayer) -> np.ndarray:
    """(C, everything else): row i holds all weights that multiply input channel i."""
    if layer.operator != "Conv":
        return np.moveaxis(weight, 1 - layer.axis, 0).reshape(weight.shape[1 - layer.axis], -1)
    grouped = weight.reshape(layer.groups, -1, *weight.shape[1:])  # (G, K, I, kh, kw)
    moved = np.moveaxis(grouped, 2, 1)
    return moved.reshape(layer.groups * weight.shape[1], -1)


def _from_input(rows: np.ndarray, like: np.ndarray, layer: WeightedLayer) -> np.ndarray:
    if layer.operator != "Conv":
        return np.ascontiguousarray(np.moveaxis(rows.reshape(np.moveaxis(like, 1 - layer.axis, 0).shape), 0, 1 - layer.axis))
    grouped = rows.reshape(layer.groups, like.shape[1], like.shape[0] // layer.groups, *like.shape[2:])
    return np.ascontiguousarray(np.moveaxis(grouped, 1, 2).reshape(like.shape))


def _padded(model: onnx.ModelProto, layer: WeightedLayer) -> bool:
    node = next(one for one in model.graph.node if one.name == layer.name)
    given = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
    return any(given.get("pads", ())) or given.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID")
