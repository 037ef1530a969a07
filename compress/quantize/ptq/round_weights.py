"""Round the weights of a network layer by layer, and correct biases for the shift of the mean.

A rounding method (registry family `rounding`, without `blockwise`) is a function from `LayerRounding` to integers q, (G, K, D),
int8. It uses the inputs of the layer in the network with all earlier layers rounded and corrected, such that the output is
close to that of the float network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import onnx_ir as ir

from compress.backends import onnx_graph as graphs
from compress.backends.runner_protocol import Feeds
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.progress import NullReporter, Reporter
from compress.core.registry import lookup
from compress.quantize.ptq.following_activation import ActivationFunction, activation_after
from compress.quantize.ptq.gptq import DampedHessian, best_scale, gptaq_target
from compress.quantize.ptq.input_statistics import LayerInputs, collect_inputs
from compress.quantize.ptq.layer_by_layer import SequentialRunner
from compress.quantize.ptq.quantized_weight import QuantizedWeight, round_to_nearest, weight_scales
from compress.quantize.ptq.weighted_layers import WeightedLayer, read_weight, weighted_layers, with_biases


@dataclass(eq=False)
class LayerRounding:
    """One layer to round.

    Attributes:
        w: W, (G, K, D), float32.
        s: Scales, (G, K).
        bits: The number of levels is 2^bits.
        inputs: Input statistics of the layer in the float and in the quantized network.
        bias: b, (G, K).
        activation: Activation function f after the layer; None for the identity.
        iterations: Iterations of an iterative method.
    """

    w: np.ndarray
    s: np.ndarray
    bits: int
    inputs: LayerInputs
    bias: np.ndarray
    activation: ActivationFunction | None
    iterations: int

    @cached_property
    def hessian(self) -> DampedHessian:
        """H of the inputs in the quantized network."""
        return DampedHessian(self.inputs.hessian)

    @cached_property
    def target(self) -> np.ndarray:
        """W*, the weights that best reproduce the float outputs from the quantized inputs; see `gptaq_target`."""
        return gptaq_target(self.w, self.hessian, self.inputs.cross_moment)


RoundLayer = Callable[[LayerRounding], np.ndarray]


@dataclass(frozen=True)
class RoundingOptions:
    """How weights are rounded.

    Attributes:
        bits: The number of levels is 2^bits.
        per_channel: One scale per output channel.
        search: Scales with the least squared error instead of those that cover the largest weight.
        rounding: Name in the registry family `rounding`.
        iterations: Iterations of an iterative method per layer or block.
        correction: Name in the registry family `bias_correction`.
    """

    bits: int
    per_channel: bool
    search: bool
    rounding: str
    iterations: int
    correction: str = "none"

    @property
    def needs_data(self) -> bool:
        """Whether the rounding or the correction uses the inputs of layers."""
        return self.rounding != "nearest" or self.correction != "none"

    def nearest(self, w: np.ndarray) -> QuantizedWeight:
        """Round a weight (G, K, D) to the nearest."""
        s = weight_scales(w, self.bits, per_channel=self.per_channel, search=self.search)
        return QuantizedWeight(round_to_nearest(w, s, self.bits), s, self.per_channel)


@dataclass(frozen=True, eq=False)
class PreparedModel:
    """A float network and its integer weights.

    Attributes:
        model: Float network with corrected biases.
        weights: Integers and scales by weight initializer; ONNX Runtime's quantizer rounds weights without an entry.
        layers: Layer by weight initializer.
        skipped: Facts on what was skipped.
        notes: Facts on what was done.
    """

    model: ir.Model
    weights: Mapping[str, QuantizedWeight] = field(default_factory=dict)
    layers: Mapping[str, WeightedLayer] = field(default_factory=dict)
    skipped: tuple[Fact, ...] = ()
    notes: tuple[Fact, ...] = ()


def round_weights(
    model: ir.Model,
    batches: Sequence[Feeds],
    options: RoundingOptions,
    *,
    exclude: Sequence[str] = (),
    reporter: Reporter | None = None,
) -> PreparedModel:
    """Round all weights and correct the biases.

    Args:
        model: Float network; not changed.
        batches: Calibration batches by name of the input.
        options: How weights are rounded.
        exclude: Names of nodes that stay in float.
        reporter: Shows a progress bar.
    """
    layers = _included(model, exclude)
    if options.correction != "none":
        model = with_biases(model, layers)
        layers = _included(model, exclude)
    weights: dict[str, QuantizedWeight] = {}
    biases: dict[str, np.ndarray] = {}
    notes: tuple[Fact, ...] = ()
    with (reporter or NullReporter()).bar(gettext("round weights"), len(layers)) as bar:
        if not options.needs_data:
            for layer in layers:
                weights[layer.weight] = options.nearest(layer.to_matrix(read_weight(model, layer.weight)))
                bar.advance()
        else:
            runner = SequentialRunner(model, layers, batches)
            ratios = []
            for layer, inputs, inputs_quantized in runner:
                weight = read_weight(model, layer.weight)
                statistics = collect_inputs(layer, runner.node(layer), weight, inputs, inputs_quantized, seed=len(weights))
                ratios.append(_round_layer(runner, layer, statistics, options, weights, biases))
                bar.advance()
            if options.rounding != "nearest" and ratios:
                ratio = float(np.median(ratios))
                notes = (Fact.of("quantize_ptq.rounding_error", options.rounding, ratio=ratio, images=runner.images),)
    by_weight = {layer.weight: layer for layer in layers}
    model = graphs.with_initializers(model, biases)
    return PreparedModel(model, weights, by_weight, _without_bias(layers, options.correction), notes)


def _included(model: ir.Model, exclude: Sequence[str]) -> list[WeightedLayer]:
    return [layer for layer in weighted_layers(model) if layer.name not in exclude]


def _round_layer(
    runner: SequentialRunner,
    layer: WeightedLayer,
    inputs: LayerInputs,
    options: RoundingOptions,
    weights: dict[str, QuantizedWeight],
    biases: dict[str, np.ndarray],
) -> float:
    """Round one layer; returns its squared output error ÷ that of rounding to the nearest."""
    weight = read_weight(runner.model, layer.weight)
    w = layer.to_matrix(weight)
    b = read_weight(runner.model, layer.bias) if layer.bias else np.zeros(w.shape[0] * w.shape[1], np.float32)
    nearest = rounded = options.nearest(w)
    if options.rounding != "nearest":
        activation = activation_after(runner.values[layer.output])
        problem = LayerRounding(w, nearest.s, options.bits, inputs, b.reshape(w.shape[:2]), activation, options.iterations)
        rounded = _round_by_inputs(problem, nearest, options)
    weights[layer.weight] = rounded
    runner.set_weights({layer.weight: layer.from_matrix(rounded.dequantize(), weight)})
    if layer.bias and options.correction != "none":
        shift = lookup("bias_correction", options.correction).load()
        biases[layer.bias] = b - shift(w, rounded.dequantize(), inputs).astype(np.float32)
        runner.set_weights({layer.bias: biases[layer.bias]})
    if options.rounding == "nearest":
        return 1.0
    if options.correction != "none":
        inputs = inputs.centered()
    before, after = (float(inputs.error(w, quantized.dequantize()).sum()) for quantized in (nearest, rounded))
    return after / before if before > 0 else 1.0


def _round_by_inputs(problem: LayerRounding, nearest: QuantizedWeight, options: RoundingOptions) -> QuantizedWeight:
    """Round with the input statistics of the layer."""
    if options.correction != "none":  # the correction restores the means, so the rounding need not
        bias = problem.bias + np.einsum("gkd,gd->gk", problem.w, problem.inputs.mean)
        problem = replace(problem, bias=bias, inputs=problem.inputs.centered())
    if options.search:
        full = weight_scales(problem.w, options.bits, per_channel=options.per_channel, search=False)
        problem.s = best_scale(full, problem.hessian, options.bits, target=problem.target, per_channel=options.per_channel)
    method: RoundLayer = lookup("rounding", options.rounding).load()
    return replace(nearest, q=method(problem), s=problem.s)


def _without_bias(layers: Sequence[WeightedLayer], correction: str) -> tuple[Fact, ...]:
    """Facts on layers without a bias to correct."""
    if correction == "none":
        return ()
    return tuple(Fact.of("quantize_ptq.no_bias_to_correct", layer.name) for layer in layers if not layer.bias)
