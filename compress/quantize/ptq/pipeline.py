"""Everything done to a float network before Q/DQ pairs are placed: equalize, choose integers for weights, correct biases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import onnx

from compress.core.progress import Bar, NullReporter, Reporter
from compress.core.record import Skipped
from compress.quantize.ptq import bias_correction as bias
from compress.quantize.ptq.adaround import adaround
from compress.quantize.ptq.cross_layer_equalization import absorb_high_biases, equalize, find_pairs
from compress.quantize.ptq.following_activation import ActivationFunction, activation_after
from compress.quantize.ptq.gptq import DampedHessian, best_scale, gptaq_target, gptq
from compress.quantize.ptq.input_statistics import LayerInputs, collect_inputs
from compress.quantize.ptq.layer_by_layer import SequentialRunner
from compress.quantize.ptq.quantized_weight import QuantizedWeight, round_to_nearest, weight_scales
from compress.quantize.ptq.weighted_layers import WeightedLayer, read_weight, weighted_layers, with_biases, with_weights


@dataclass(frozen=True, eq=False)
class PreparedModel:
    """A float network and the integers that its weights are to become.

    Attributes:
        model: Float network: equalized, biases corrected for the rounding that is to come.
        grids: By weight initializer; those not here are left to ONNX Runtime's quantizer.
        layers: The layer of each grid.
        skipped: What was left alone.
        notes: What was done.
    """

    model: onnx.ModelProto
    grids: Mapping[str, QuantizedWeight] = field(default_factory=dict)
    layers: Mapping[str, WeightedLayer] = field(default_factory=dict)
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()


def equalize_model(model: onnx.ModelProto, batches: Sequence[np.ndarray]) -> PreparedModel:
    """Cross-layer equalization, then high biases absorbed by what calibration samples show of them."""
    pairs, skipped = find_pairs(model)
    if not pairs:
        none = Skipped(what="equalization", reason="no two layers stand next to each other with nothing or a ReLU between")
        return PreparedModel(model, skipped=(*skipped, none))
    model, count = equalize(model)
    before = list(dict.fromkeys(pair.first.output for pair in pairs if pair.rectified))
    if before:
        seen = bias.output_moments(model, before, bias.limit_batches(batches))
        model = absorb_high_biases(
            model, {name: mean for name, (mean, _) in seen.items()}, {name: one for name, (_, one) in seen.items()}
        )
    return PreparedModel(model, skipped=skipped, notes=(f"{count} pairs of layers equalized",))


def round_weights(
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
) -> PreparedModel:
    """Integers for all weights, and biases that make up for what rounding shifts.

    Layers are taken in order. Each learns from what it reads in the network whose earlier layers are rounded and corrected
    already, and is to give what it gives in the float network.

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
    layers = [layer for layer in weighted_layers(model) if layer.name not in exclude]
    if correction != "none":
        model = with_biases(model, layers)
        layers = [layer for layer in weighted_layers(model) if layer.name not in exclude]
    how = RoundingOptions(bits, per_channel, search, rounding, iterations, correction)
    grids: dict[str, QuantizedWeight] = {}
    biases: dict[str, np.ndarray] = {}
    notes: tuple[str, ...] = ()
    with (reporter or NullReporter()).bar("round weights", len(layers)) as bar:
        if how.blind:
            for layer in layers:
                grids[layer.weight] = how.grid(layer.to_matrix(read_weight(model, layer.weight)))
                bar.advance()
        else:
            walk = SequentialRunner(model, layers, batches)
            gains = [_step(walk, layer, values, how, grids, biases, bar) for layer, *values in walk]
            notes = _told(rounding, gains, walk.images)
    return PreparedModel(
        with_weights(model, biases), grids, {layer.weight: layer for layer in layers}, _uncorrected(layers, correction), notes
    )


@dataclass(frozen=True)
class RoundingOptions:
    """How one layer is rounded; see `round_weights` for the fields."""

    bits: int
    per_channel: bool
    search: bool
    rounding: str
    iterations: int
    correction: str

    @property
    def blind(self) -> bool:
        """No data are needed."""
        return self.rounding == "nearest" and self.correction == "none"

    def grid(self, w: np.ndarray) -> QuantizedWeight:
        """Rounded to the nearest."""
        s = weight_scales(w, self.bits, per_channel=self.per_channel, search=self.search)
        return QuantizedWeight(round_to_nearest(w, s, self.bits), s, self.per_channel)

    def learned(
        self, w: np.ndarray, plain: QuantizedWeight, seen: LayerInputs, b: np.ndarray, bend: ActivationFunction | None
    ) -> QuantizedWeight:
        """Rounded by what the layer reads; where a correction follows, about the means, which it gives back."""
        if self.correction != "none":
            b = b + np.einsum("gkd,gd->gk", w, seen.mean)
            seen = seen.centered()
        s = plain.s
        if self.search or self.rounding == "gptq":
            curvature = DampedHessian(seen.hessian)
            aim = gptaq_target(w, curvature, seen.cross_moment)
            if self.search:
                full = weight_scales(w, self.bits, per_channel=self.per_channel, search=False)
                s = best_scale(full, curvature, self.bits, target=aim, per_channel=self.per_channel)
            if self.rounding == "gptq":
                return replace(plain, q=gptq(w, s, curvature, self.bits, target=aim), s=s)
        return replace(
            plain, q=adaround(w, s, seen.x, seen.x_quantized, self.bits, iterations=self.iterations, b=b, bend=bend), s=s
        )


def _step(
    walk: SequentialRunner,
    layer: WeightedLayer,
    values: Sequence[Sequence[np.ndarray]],
    how: RoundingOptions,
    grids: dict[str, QuantizedWeight],
    biases: dict[str, np.ndarray],
    bar: Bar,
) -> float:
    """Round one layer; its squared output error beside that of rounding to the nearest."""
    stored = read_weight(walk.model, layer.weight)
    w = layer.to_matrix(stored)
    seen = collect_inputs(layer, walk.node(layer), stored, *values, seed=len(grids))
    b = read_weight(walk.model, layer.bias) if layer.bias else np.zeros(w.shape[0] * w.shape[1], np.float32)
    plain = grid = how.grid(w)
    if how.rounding != "nearest":
        grid = how.learned(w, plain, seen, b.reshape(w.shape[:2]), activation_after(walk.model, layer.output))
    grids[layer.weight] = grid
    walk.set_weights({layer.weight: layer.from_matrix(grid.dequantize(), stored)})
    if layer.bias and how.correction != "none":
        found_mean = seen.mean_quantized if how.correction == "empirical" else seen.mean
        biases[layer.bias] = b - bias.bias_shift(w, grid.dequantize(), seen.mean, found_mean).astype(np.float32)
        walk.set_weights({layer.bias: biases[layer.bias]})
    bar.advance()
    if how.rounding == "nearest":
        return 1.0
    if how.correction != "none":
        seen = seen.centered()
    before, after = (float(seen.error(w, one.dequantize()).sum()) for one in (plain, grid))
    return after / before if before > 0 else 1.0


def _told(rounding: str, gains: Sequence[float], images: int) -> tuple[str, ...]:
    """What was learned from and what it brought, in a sentence."""
    if rounding == "nearest" or not gains:
        return ()
    share = f"squared output error of a layer at {np.median(gains):.0%} of nearest rounding's (median over layers)"
    return (f"{rounding}: {share}; learned from {images} images",)


def _uncorrected(layers: Sequence[WeightedLayer], correction: str) -> tuple[Skipped, ...]:
    """Layers without a bias to correct."""
    if correction == "none":
        return ()
    reason = "it has no bias of its own to put the correction into"
    return tuple(Skipped(what=f"bias correction of {layer.name}", reason=reason) for layer in layers if not layer.bias)
