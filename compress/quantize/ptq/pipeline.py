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
from compress.quantize.ptq.cross_layer_equalization import absorb, equalize, pairs_of
from compress.quantize.ptq.following_activation import Bend, bend_of
from compress.quantize.ptq.gptq import Curvature, gptq, least, towards
from compress.quantize.ptq.input_statistics import Seen, watch
from compress.quantize.ptq.layer_by_layer import Walk
from compress.quantize.ptq.quantized_weight import Grid, nearest, steps
from compress.quantize.ptq.weighted_layers import Layer, layers_of, weight_of, with_biases, with_weights


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
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()


def equalized(model: onnx.ModelProto, batches: Sequence[np.ndarray]) -> Prepared:
    """Cross-layer equalization, then high biases absorbed by what calibration samples show of them."""
    pairs, skipped = pairs_of(model)
    if not pairs:
        none = Skipped(what="equalization", reason="no two layers stand next to each other with nothing or a ReLU between")
        return Prepared(model, skipped=(*skipped, none))
    model, count = equalize(model)
    before = list(dict.fromkeys(pair.first.output for pair in pairs if pair.rectified))
    if before:
        seen = bias.output_moments(model, before, bias.enough(batches))
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
    layers = [layer for layer in layers_of(model) if layer.name not in exclude]
    if correction != "none":
        model = with_biases(model, layers)
        layers = [layer for layer in layers_of(model) if layer.name not in exclude]
    how = Rounding(bits, per_channel, search, rounding, iterations, correction)
    grids: dict[str, Grid] = {}
    biases: dict[str, np.ndarray] = {}
    notes: tuple[str, ...] = ()
    with (reporter or NullReporter()).bar("round weights", len(layers)) as bar:
        if how.blind:
            for layer in layers:
                grids[layer.weight] = how.grid(layer.matrix(weight_of(model, layer.weight)))
                bar.advance()
        else:
            walk = Walk(model, layers, batches)
            gains = [_step(walk, layer, values, how, grids, biases, bar) for layer, *values in walk]
            notes = _told(rounding, gains, walk.images)
    return Prepared(
        with_weights(model, biases), grids, {layer.weight: layer for layer in layers}, _uncorrected(layers, correction), notes
    )


@dataclass(frozen=True)
class Rounding:
    """How one layer is rounded; see `rounded` for the fields."""

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

    def grid(self, w: np.ndarray) -> Grid:
        """Rounded to the nearest."""
        s = steps(w, self.bits, per_channel=self.per_channel, search=self.search)
        return Grid(nearest(w, s, self.bits), s, self.per_channel)

    def learned(self, w: np.ndarray, plain: Grid, seen: Seen, b: np.ndarray, bend: Bend | None) -> Grid:
        """Rounded by what the layer reads; where a correction follows, about the means, which it gives back."""
        if self.correction != "none":
            b = b + np.einsum("gkd,gd->gk", w, seen.mean)
            seen = seen.centred()
        s = plain.s
        if self.search or self.rounding == "gptq":
            curvature = Curvature(seen.second)
            aim = towards(w, curvature, seen.cross)
            if self.search:
                full = steps(w, self.bits, per_channel=self.per_channel, search=False)
                s = least(full, curvature, self.bits, target=aim, per_channel=self.per_channel)
            if self.rounding == "gptq":
                return replace(plain, q=gptq(w, s, curvature, self.bits, target=aim), s=s)
        return replace(plain, q=adaround(w, s, seen.x, seen.found, self.bits, iterations=self.iterations, b=b, bend=bend), s=s)


def _step(
    walk: Walk,
    layer: Layer,
    values: Sequence[Sequence[np.ndarray]],
    how: Rounding,
    grids: dict[str, Grid],
    biases: dict[str, np.ndarray],
    bar: Bar,
) -> float:
    """Round one layer; its squared output error beside that of rounding to the nearest."""
    stored = weight_of(walk.model, layer.weight)
    w = layer.matrix(stored)
    seen = watch(layer, walk.node(layer), stored, *values, seed=len(grids))
    b = weight_of(walk.model, layer.bias) if layer.bias else np.zeros(w.shape[0] * w.shape[1], np.float32)
    plain = grid = how.grid(w)
    if how.rounding != "nearest":
        grid = how.learned(w, plain, seen, b.reshape(w.shape[:2]), bend_of(walk.model, layer.output))
    grids[layer.weight] = grid
    walk.put({layer.weight: layer.stored(grid.values(), stored)})
    if layer.bias and how.correction != "none":
        found_mean = seen.found_mean if how.correction == "empirical" else seen.mean
        biases[layer.bias] = b - bias.shift(w, grid.values(), seen.mean, found_mean).astype(np.float32)
        walk.put({layer.bias: biases[layer.bias]})
    bar.advance()
    if how.rounding == "nearest":
        return 1.0
    if how.correction != "none":
        seen = seen.centred()
    before, after = (float(seen.error(w, one.values()).sum()) for one in (plain, grid))
    return after / before if before > 0 else 1.0


def _told(rounding: str, gains: Sequence[float], images: int) -> tuple[str, ...]:
    """What was learned from and what it brought, in a sentence."""
    if rounding == "nearest" or not gains:
        return ()
    share = f"squared output error of a layer at {np.median(gains):.0%} of nearest rounding's (median over layers)"
    return (f"{rounding}: {share}; learned from {images} images",)


def _uncorrected(layers: Sequence[Layer], correction: str) -> tuple[Skipped, ...]:
    """Layers without a bias to correct."""
    if correction == "none":
        return ()
    reason = "it has no bias of its own to put the correction into"
    return tuple(Skipped(what=f"bias correction of {layer.name}", reason=reason) for layer in layers if not layer.bias)
