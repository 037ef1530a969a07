"""Everything done to a float network before Q/DQ pairs are placed: equalize, choose integers for weights, correct biases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx

from compress.progress import Reporter, Silent
from compress.quantize import bias, moments
from compress.quantize.adaround import adaround, output_error
from compress.quantize.equalize import absorb, equalize, pairs_of
from compress.quantize.gptq import gptq
from compress.quantize.grid import Grid, nearest, steps
from compress.quantize.layers import LINEAR, Layer, layers_of, weight_of, with_biases, with_weights
from compress.record import Skip


@dataclass(frozen=True, eq=False)
class Prepared:
    """A float network and the integers that its weights are to become.

    Attributes:
        model: Float network: equalized, biases corrected for the rounding that is to come.
        grids: By weight initializer; those not here are left to ONNX Runtime's quantizer.
        layers: The layer of each grid.
        skipped: What was left alone.
        notes: What was done.
    """

    model: onnx.ModelProto
    grids: Mapping[str, Grid] = field(default_factory=dict)
    layers: Mapping[str, Layer] = field(default_factory=dict)
    skipped: tuple[Skip, ...] = ()
    notes: tuple[str, ...] = ()


def equalized(model: onnx.ModelProto, batches: Sequence[np.ndarray]) -> Prepared:
    """Cross-layer equalization, then high biases absorbed by what calibration samples show of them."""
    pairs, skipped = pairs_of(model)
    if not pairs:
        none = Skip(what="equalization", reason="no two layers stand next to each other with nothing or a ReLU between")
        return Prepared(model, skipped=(*skipped, none))
    model, count = equalize(model)
    before = list(dict.fromkeys(pair.first.output for pair in pairs if pair.rectified))
    if before:
        seen = bias.output_moments(model, before, batches)
        model = absorb(model, {name: mean for name, (mean, _) in seen.items()}, {name: one for name, (_, one) in seen.items()})
    return Prepared(model, skipped=skipped, notes=(f"{count} pairs of layers equalized",))


def rounded(
    model: onnx.ModelProto,
    batches: Sequence[np.ndarray],
    *,
    bits: int,
    per_channel: bool,
    search: bool,
    rounding: str,
    iterations: int,
    correction: str,
    exclude: Sequence[str] = (),
    reporter: Reporter | None = None,
) -> Prepared:
    """Integers for all weights, and biases that make up for what rounding shifts.

    Args:
        model: Float network; left as it was.
        batches: Calibration inputs.
        bits: Levels are 2^bits.
        per_channel: One step for each output channel.
        search: Steps of least squared error instead of those that hold the largest weight.
        rounding: `nearest`, `adaround` or `gptq`.
        iterations: Of `adaround`.
        correction: `none`, `analytic` or `empirical`.
        exclude: Names of nodes that stay in float.
        reporter: Shows bars.
    """
    layers = [layer for layer in layers_of(model) if layer.name not in exclude]
    if correction != "none":
        model = with_biases(model, layers)
        layers = [layer for layer in layers_of(model) if layer.name not in exclude]
    seen: Mapping[str, moments.Moments] = {}
    if rounding != "nearest" or correction == "analytic":
        seen = moments.collect(model, layers, batches, second=rounding != "nearest", reporter=reporter)
    weights = {layer.weight: layer.matrix(weight_of(model, layer.weight)) for layer in layers}
    grids: dict[str, Grid] = {}
    with (reporter or Silent()).bar("round weights", len(layers)) as bar:
        for layer in layers:
            w = weights[layer.weight]
            s = steps(w, bits, per_channel=per_channel, search=search)
            grids[layer.weight] = Grid(_integers(w, s, bits, layer, seen, rounding, iterations), s, per_channel)
            bar.advance()
    biases: Mapping[str, np.ndarray] = {}
    if correction == "analytic":
        biases = {
            layer.bias: weight_of(model, layer.bias)
            - bias.shift(weights[layer.weight], grids[layer.weight].values(), seen[layer.name].mean).astype(np.float32)
            for layer in layers
            if layer.bias
        }
    elif correction == "empirical":
        values = {layer.weight: layer.stored(grids[layer.weight].values(), weight_of(model, layer.weight)) for layer in layers}
        biases = bias.corrected(model, values, layers, batches, reporter=reporter)
    by_weight = {layer.weight: layer for layer in layers}
    notes = () if rounding == "nearest" else (_gain(weights, grids, by_weight, seen, bits, rounding),)
    return Prepared(with_weights(model, biases), grids, by_weight, _uncorrected(layers, correction), notes)


def _integers(
    w: np.ndarray,
    s: np.ndarray,
    bits: int,
    layer: Layer,
    seen: Mapping[str, moments.Moments],
    rounding: str,
    iterations: int,
) -> np.ndarray:
    if rounding == "adaround":
        return adaround(w, s, seen[layer.name].second, bits, iterations=iterations)
    if rounding == "gptq" and layer.operator in LINEAR:
        return gptq(w, s, seen[layer.name].second, bits)
    return nearest(w, s, bits)


def _gain(
    weights: Mapping[str, np.ndarray],
    grids: Mapping[str, Grid],
    layers: Mapping[str, Layer],
    seen: Mapping[str, moments.Moments],
    bits: int,
    rounding: str,
) -> str:
    """What learned rounding brought, in a sentence."""
    gains = []
    for name, grid in grids.items():
        w, second = weights[name], seen[layers[name].name].second
        before, after = (output_error(q, w, grid.s, second).sum() for q in (nearest(w, grid.s, bits), grid.q))
        gains.append(float(after / before) if before > 0 else 1.0)
    return f"{rounding}: squared output error of a layer at {np.median(gains):.0%} of nearest rounding's (median over layers)"


def _uncorrected(layers: Sequence[Layer], correction: str) -> tuple[Skip, ...]:
    """Layers without a bias to correct."""
    if correction == "none":
        return ()
    reason = "it has no bias of its own to put the correction into"
    return tuple(Skip(what=f"bias correction of {layer.name}", reason=reason) for layer in layers if not layer.bias)
