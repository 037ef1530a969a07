"""Round the linear layers of a network in blocks, one after the other, by a method of the registry family `block_rounding`.

Methods that use the inputs of a layer have those behind the rounded layers; the inputs of one layer are held at a time. The
outputs of a layer are rounded independently, so a large layer is rounded in parts.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import onnx_ir as ir

from compress.backends.runner_protocol import Feeds
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.progress import NullReporter, Reporter
from compress.core.registry import lookup
from compress.quantize.ptq.input_statistics import LayerInputs, collect_inputs
from compress.quantize.ptq.layer_by_layer import SequentialRunner
from compress.quantize.ptq.weighted_layers import WeightedLayer, read_weight
from compress.quantize.weight_only.blockwise import BlockwiseWeight, join, parts_of
from compress.quantize.weight_only.rounding_problem import BlockRounding, RoundBlocks

Weights = Mapping[tuple[str, int], BlockwiseWeight]
"""Rounded matrices by weight initializer and axis of the outputs in it."""

WITHOUT_DATA = "k_quant"
"""How matrices are rounded for which a method with data does not fit."""


@dataclass(frozen=True)
class BlockOptions:
    """How matrices are rounded.

    Attributes:
        bits: 4 or 8.
        block: Inputs that share a scale.
        symmetric: Zero points are in the middle of the range.
        rounding: Name in the registry family `block_rounding`.
        batches: Calibration batches by name of the input, for methods that need data.
        bits_by_layer: Bits of layers by name that have other ones.
        without_data: Names of layers that are rounded without data.
        given: Matrices that are rounded already; the others are rounded behind them.
        reporter: Shows a progress bar.
    """

    bits: int = 4
    block: int = 32
    symmetric: bool = False
    rounding: str = "nearest"
    batches: Sequence[Feeds] = ()
    bits_by_layer: Mapping[str, int] = field(default_factory=dict)
    without_data: Collection[str] = ()
    given: Weights = field(default_factory=dict)
    reporter: Reporter = field(default_factory=NullReporter)

    def problem(self, w: np.ndarray, inputs: LayerInputs | None = None, layer: str = "") -> BlockRounding:
        """The rounding of one matrix, (K, D), of a layer."""
        return BlockRounding(w, self.bits_of(layer), self.block, self.symmetric, inputs)

    def bits_of(self, layer: str) -> int:
        """Bits of a layer."""
        return self.bits_by_layer.get(layer, self.bits)

    def round_table(self, e: np.ndarray, bits: int) -> BlockwiseWeight:
        """A table, (V, D), rounded without data, by the same method if it needs none."""
        row = lookup("block_rounding", WITHOUT_DATA if needs_data(self.rounding) else self.rounding)
        rounded: BlockwiseWeight = row.load()(BlockRounding(e, bits, self.block, self.symmetric))
        return rounded


def needs_data(rounding: str) -> bool:
    """Whether a rounding uses calibration samples."""
    return bool(lookup("block_rounding", rounding).options.get("needs_data"))


def round_blocks(model: ir.Model, layers: Sequence[WeightedLayer], options: BlockOptions) -> tuple[Weights, tuple[Fact, ...]]:
    """Round the matrices of layers; a matrix that several layers share is rounded for the first of them.

    Args:
        model: Float network; not changed.
        layers: Its linear layers, in graph order.
        options: How matrices are rounded.

    Returns:
        The rounded matrices, and a note on the error of their outputs for methods that need data.
    """
    row = lookup("block_rounding", options.rounding)
    method: RoundBlocks = row.load()
    weights = dict(options.given)
    layers = [layer for layer in layers if layer.key not in weights]
    if not row.options.get("needs_data") or row.options.get("rescales"):  # a rescaled network is rounded to the nearest
        for layer in layers:
            if layer.key not in weights:
                problem = options.problem(_matrix(model, layer), layer=layer.name)
                weights[layer.key] = method(problem)
        return weights, ()
    for layer in layers:
        if layer.name in options.without_data:
            weights[layer.key] = options.round_table(_matrix(model, layer), options.bits_of(layer.name))
    runner, ratios = SequentialRunner(model, layers, options.batches), list[float]()
    readers = {layer.weight: len(model.graph.initializers[layer.weight].uses()) for layer in layers}
    with options.reporter.bar(gettext("round weights"), len(layers)) as bar:
        for layer, inputs, inputs_quantized in runner:
            if layer.key in weights:
                continue
            weight = read_weight(model, layer.weight)
            statistics = collect_inputs(layer, runner.node(layer), weight, inputs, inputs_quantized, seed=len(weights))
            problem = options.problem(layer.to_matrix(weight)[0], statistics, layer.name)
            rounded, ratio = _round_in_parts(method, problem)
            weights[layer.key] = rounded
            if readers[layer.weight] == 1:  # the table of an embedding has its own integers
                runner.set_weights({layer.weight: layer.from_matrix(rounded.dequantize()[None], weight)})
            ratios.append(ratio)
            bar.advance()
    if not ratios:
        return weights, ()
    ratio = float(np.median(ratios))
    return weights, (Fact.of("quantize_ptq.rounding_error", options.rounding, ratio=ratio, images=runner.images),)


def _matrix(model: ir.Model, layer: WeightedLayer) -> np.ndarray:
    matrix: np.ndarray = layer.to_matrix(read_weight(model, layer.weight))[0]
    return matrix


def _round_in_parts(method: RoundBlocks, problem: BlockRounding) -> tuple[BlockwiseWeight, float]:
    """A rounded matrix, and the squared error of its outputs ÷ that of rounding to the nearest."""
    parts, errors = list[BlockwiseWeight](), np.zeros(2)
    for rows in parts_of(problem.w):
        part = replace(problem, w=np.ascontiguousarray(problem.w[rows]))
        part.hessian = problem.hessian  # its factors are those of all parts
        parts.append(method(part))
        for index, weight in enumerate((parts[-1], part.nearest())):
            errors[index] += part.statistics.error(part.w[None], weight.dequantize()[None]).sum()
    return join(parts), float(errors[0] / errors[1]) if errors[1] > 0 else 1.0
