"""Cross-layer equalization: rescale the channels between two layers such that both weights have the same range per channel.

Nagel et al. 2019, Data-Free Quantization, arXiv:1906.04721. For f with f(s x) = s f(x) for s > 0 (ReLU, identity)

    W₂ f(W₁ x + b₁) = (W₂ S) f(S⁻¹ W₁ x + S⁻¹ b₁),     S = diag(s),    s_i = √(r₁_i r₂_i) / r₂_i,

where r₁_i = max |W₁[i, :]| and r₂_i = max |W₂[:, i]| are the two ranges of channel i (section 4.1). This is repeated over all
pairs until the factors are near 1. High biases that this causes are absorbed by the next layer (section 4.1.3): with
c_i = max(0, μ_i − 3 σ_i)

    b₁ ← b₁ − c,   b₂ ← b₂ + W₂ c,

which does not change the function for W₁ x + b₁ > c, that is for nearly all x. Not applied before a convolution with padding,
because the border contains zeros instead of c.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from compress.backends import onnx_graph as graphs
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.quantize.ptq.bias_correction import limit_batches, output_moments
from compress.quantize.ptq.pipeline import PassInputs, PassResult
from compress.quantize.ptq.weighted_layers import WeightedLayer, read_weight, weighted_layers, with_biases

SWEEPS = 20
CONVERGED = 1e-3
DEVIATIONS = 3.0


@dataclass(frozen=True)
class LayerPair:
    """Two layers between which a positive factor can be moved.

    Attributes:
        first: Layer whose outputs are divided by the factor.
        second: Layer whose inputs are multiplied by the factor.
        relu_between: Whether a ReLU is between them.
    """

    first: WeightedLayer
    second: WeightedLayer
    relu_between: bool


def equalize_network(model: ir.Model, inputs: PassInputs) -> PassResult:
    """Pass `equalize`: cross-layer equalization, then absorption of high biases with statistics of calibration samples."""
    pairs, skipped = find_pairs(model)
    if not pairs:
        return PassResult(model, skipped=(*skipped, Fact.of("quantize_ptq.no_pairs_to_equalize", "equalization")))
    model, count = equalize(model)
    outputs = list(dict.fromkeys(pair.first.output for pair in pairs if pair.relu_between))
    if outputs:
        moments = output_moments(model, outputs, limit_batches(inputs.batches))
        means, deviations = ({name: pair[index] for name, pair in moments.items()} for index in (0, 1))
        model = absorb_high_biases(model, means, deviations)
    return PassResult(model, skipped=skipped, notes=(Fact.of("quantize_ptq.pairs_equalized", count=count),))


def equalization_factors(r1: np.ndarray, r2: np.ndarray) -> np.ndarray:
    """Factors s, (C,), from the ranges r₁ and r₂ of the channels; 1 for a channel with a range of 0."""
    alive = (r1 > 0) & (r2 > 0)
    factors: np.ndarray = np.where(alive, np.sqrt(np.where(alive, r1, 1.0) / np.where(alive, r2, 1.0)), 1.0)
    return factors


def find_pairs(model: ir.Model) -> tuple[tuple[LayerPair, ...], tuple[Fact, ...]]:
    """Pairs that can be equalized without changing the function, and facts on pairs that cannot."""
    layers = {layer.output: layer for layer in weighted_layers(model)}
    pairs, skipped = list[LayerPair](), list[Fact]()
    for second in layers.values():
        value, between = graphs.find_value(model, second.input), ""
        node = value.producer()
        if node is not None and node.op_type in ("Relu", "Clip") and _is_read_once(value) and node.inputs[0] is not None:
            value, between = node.inputs[0], node.op_type
        first = layers.get(str(value.name))
        if first is None or not _is_read_once(value):
            continue
        if between == "Clip":
            skipped.append(
                Fact.of(
                    "quantize_ptq.clip_between_layers",
                    gettext("{name} and {second_name}", name=first.name, second_name=second.name),
                )
            )
        elif (first.operator == "Conv") == (second.operator == "Conv"):
            pairs.append(LayerPair(first, second, relu_between=between == "Relu"))
    return tuple(pairs), tuple(skipped)


def _is_read_once(value: ir.Value) -> bool:
    return len(value.uses()) + value.is_graph_output() == 1


def equalize(model: ir.Model) -> tuple[ir.Model, int]:
    """Equalize all pairs; returns an equivalent network and the number of pairs."""
    pairs, _ = find_pairs(model)
    names = {name for pair in pairs for layer in (pair.first, pair.second) for name in (layer.weight, layer.bias) if name}
    values = {name: read_weight(model, name) for name in names}
    for _ in range(SWEEPS):
        change = max((_equalize_pair(values, pair) for pair in pairs), default=0.0)
        if change < CONVERGED:
            break
    return graphs.with_initializers(model, values), len(pairs)


def _equalize_pair(values: dict[str, np.ndarray], pair: LayerPair) -> float:
    """Rescale one pair, in place; returns the largest |log s|."""
    first, second = pair.first, pair.second
    w1, w2 = first.to_matrix(values[first.weight]), rows_by_input(values[second.weight], second)
    s = equalization_factors(np.abs(w1).max(2).reshape(-1), np.abs(w2).max(1))
    divide_outputs(values, first, s)
    multiply_inputs(values, second, s)
    return float(np.abs(np.log(s)).max(initial=0.0))


def divide_outputs(values: dict[str, np.ndarray], layer: WeightedLayer, s: np.ndarray) -> None:
    """W ← diag(s)⁻¹ W and b ← diag(s)⁻¹ b, in place; `values` contains weights and biases by initializer."""
    w = layer.to_matrix(values[layer.weight])
    values[layer.weight] = layer.from_matrix(w / s.reshape(*w.shape[:2], 1), values[layer.weight])
    if layer.bias:
        values[layer.bias] = values[layer.bias] / s


def multiply_inputs(values: dict[str, np.ndarray], layer: WeightedLayer, s: np.ndarray) -> None:
    """W ← W diag(s), in place; see `divide_outputs`."""
    rows = rows_by_input(values[layer.weight], layer) * s[:, None]
    values[layer.weight] = _weight_from_rows(rows, values[layer.weight], layer)


def absorb_high_biases(model: ir.Model, means: Mapping[str, np.ndarray], deviations: Mapping[str, np.ndarray]) -> ir.Model:
    """Move high biases into the next layer.

    Args:
        model: Equalized network.
        means: μ of each channel of the output of a pair's first layer, before the ReLU, by tensor, (C,).
        deviations: σ of the same outputs, by tensor, (C,).
    """
    pairs = [pair for pair in find_pairs(model)[0] if pair.relu_between and not _is_padded(model, pair.second)]
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
    return graphs.with_initializers(model, values)


def rows_by_input(weight: np.ndarray, layer: WeightedLayer) -> np.ndarray:
    """The weight as (C, …): row i contains all weights that multiply input channel i."""
    if layer.operator != "Conv":
        return np.moveaxis(weight, 1 - layer.axis, 0).reshape(weight.shape[1 - layer.axis], -1)
    grouped = weight.reshape(layer.groups, -1, *weight.shape[1:])  # (G, K, I, kh, kw)
    moved = np.moveaxis(grouped, 2, 1)
    return moved.reshape(layer.groups * weight.shape[1], -1)


def _weight_from_rows(rows: np.ndarray, like: np.ndarray, layer: WeightedLayer) -> np.ndarray:
    if layer.operator != "Conv":
        return np.ascontiguousarray(np.moveaxis(rows.reshape(np.moveaxis(like, 1 - layer.axis, 0).shape), 0, 1 - layer.axis))
    grouped = rows.reshape(layer.groups, like.shape[1], like.shape[0] // layer.groups, *like.shape[2:])
    return np.ascontiguousarray(np.moveaxis(grouped, 1, 2).reshape(like.shape))


def _is_padded(model: ir.Model, layer: WeightedLayer) -> bool:
    settings = graphs.attributes(model.graph.node(layer.name))
    return any(settings.get("pads", ())) or settings.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID")
