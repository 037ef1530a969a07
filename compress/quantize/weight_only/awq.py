"""AWQ: scale the inputs of linear layers so that weights of large activations lose less by rounding.

    Y = (X diag(s)⁻¹) (diag(s) W),    s_j = (mean |X_j|)^α / √(max s · min s),    α of 0, 0.05 … 0.95 with the least
                                      Σ over the layers that read X of E‖W x − Q(W diag(s)) diag(s)⁻¹ x‖²

Q rounds in blocks. The division is merged into the norm or the linear layer that computes X, as in `smoothquant`, so the float
function does not change and the file has no further nodes. With α = 0 the weights are rounded to the nearest.
Lin et al. 2024, "AWQ", arXiv:2306.00978, equations 4 and 5.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from compress.backends import onnx_graph as graphs
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.quantize.ptq.input_statistics import LayerInputs, collect_inputs
from compress.quantize.ptq.layer_by_layer import SequentialRunner
from compress.quantize.ptq.pipeline import PassResult
from compress.quantize.ptq.smoothquant import find_sites, move_factors
from compress.quantize.ptq.weighted_layers import WeightedLayer, read_weight
from compress.quantize.weight_only.blockwise import BlockwiseWeight
from compress.quantize.weight_only.round_blocks import BlockOptions
from compress.quantize.weight_only.rounding_problem import BlockRounding

ALPHAS = tuple(np.arange(20) / 20)
_LEAST = 1e-4
"""Lower bound of a mean activation, as in the code of the authors."""


def scale_inputs(model: ir.Model, options: BlockOptions, exclude: Sequence[str] = ()) -> PassResult:
    """Scale the inputs of every linear layer if possible.

    Args:
        model: Float network; not changed.
        options: How the matrices are rounded afterwards, with calibration batches.
        exclude: Names of nodes that stay in float; a tensor that only they read is not scaled.
    """
    sites, skipped = find_sites(model, exclude)
    first = {site.readers[0].name: site for site in sites}
    if not sites:
        return PassResult(model, skipped, (Fact.of("quantize_ptq.nothing_to_smooth", alpha=0.0),))
    runner = SequentialRunner(model, _in_order(model, [site.readers[0] for site in sites]), options.batches)
    weights: dict[str, np.ndarray] = {}
    scaled, ratios = model.clone(), list[float]()
    with options.reporter.bar(gettext("activation-aware scales"), len(sites)) as bar:
        for layer, inputs, _ in runner:
            site = first[layer.name]
            statistics = collect_inputs(layer, runner.node(layer), read_weight(model, layer.weight), inputs, inputs, seed=0)
            matrices = [reader.to_matrix(read_weight(model, reader.weight))[0] for reader in site.readers]
            s, ratio = best_factors(matrices, statistics, options)
            move_factors(model, scaled, site, s, weights)
            ratios.append(ratio)
            bar.advance()
    note = Fact.of("quantize.inputs_scaled", tensors=len(sites), ratio=float(np.median(ratios)), samples=runner.images)
    return PassResult(graphs.with_initializers(scaled, weights), skipped, (note,))


def best_factors(matrices: Sequence[np.ndarray], inputs: LayerInputs, options: BlockOptions) -> tuple[np.ndarray, float]:
    """Factors s, (D,), float32, and the error of the outputs ÷ that without factors.

    Args:
        matrices: Weights (K, D) that read the tensor.
        inputs: Its statistics.
        options: How the matrices are rounded.
    """
    h, mean = inputs.hessian[0], np.maximum(np.abs(inputs.x[0]).mean(0), _LEAST)
    best, least, start = np.ones(len(mean), np.float32), np.inf, 1.0
    for alpha in ALPHAS:
        s = mean**alpha
        s = (s / np.sqrt(s.max() * s.min())).astype(np.float32)
        error = 0.0
        for w in matrices:
            difference = options.problem(w * s).nearest().dequantize() / s - w
            error += float(((difference @ h) * difference).sum())
        if alpha == 0:
            start = error
        if error < least:
            best, least = s, error
    return best, least / start if start > 0 else 1.0


def _in_order(model: ir.Model, layers: Sequence[WeightedLayer]) -> list[WeightedLayer]:
    place = {str(node.name): index for index, node in enumerate(model.graph)}
    return sorted(layers, key=lambda layer: place[layer.name])


def round_scaled(problem: BlockRounding) -> BlockwiseWeight:
    """Row `awq` of the registry: to the nearest, behind `scale_inputs`."""
    return problem.nearest()
