"""Statistics of layer inputs reproduce means and second moments of outputs."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from compress.quantize.ptq import bias_correction as bias
from compress.quantize.ptq.input_statistics import collect_inputs
from compress.quantize.ptq.layer_by_layer import SequentialRunner
from compress.quantize.ptq.weighted_layers import read_weight, weighted_layers
from tests.quantize.ptq.chain import X


def walked(model: ir.Model, layers, change: dict[str, np.ndarray] | None = None, **size: int):
    walk = SequentialRunner(model, layers, [{"input": X[:10]}, {"input": X[10:]}], **size)
    for layer, exact, result in walk:
        yield (
            layer,
            np.concatenate(exact),
            np.concatenate(result),
            collect_inputs(layer, walk.node(layer), read_weight(model, layer.weight), exact, result, seed=0),
        )
        if change is not None and layer.weight in change:
            walk.set_weights({layer.weight: change[layer.weight]})


def test_moments_are_those_of_what_outputs_are_products_of(chain: ir.Model) -> None:
    """W μ + b is the mean output, and W H Wᵀ its second moment, of any layer whose patches are all taken."""
    layers = weighted_layers(chain)
    outputs = bias.output_moments(chain, [layer.output for layer in layers], [{"input": X}])
    for layer, _, _, statistics in walked(chain, layers):
        w = layer.to_matrix(read_weight(chain, layer.weight)).astype(np.float64)
        b = read_weight(chain, layer.bias).astype(np.float64) if layer.bias else 0.0
        mean = np.einsum("gkd,gd->gk", w, statistics.mean).reshape(-1)
        square = np.einsum("gkd,gde,gke->gk", w, statistics.hessian, w).reshape(-1)
        expected, deviation = outputs[layer.output]
        np.testing.assert_allclose(mean + b, expected, atol=1e-4)
        np.testing.assert_allclose(statistics.x.mean(1), statistics.mean, atol=1e-4)
        np.testing.assert_allclose(square - mean**2, deviation**2, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(statistics.cross_moment, statistics.hessian, rtol=1e-5)


def test_texts_of_several_lengths_have_one_mean(chain: ir.Model) -> None:
    layer = next(layer for layer in weighted_layers(chain) if layer.operator != "Conv")
    (node,) = (node for node in chain.graph if node.name == layer.name)
    weight = read_weight(chain, layer.weight)
    depth = layer.to_matrix(weight).shape[2]
    rng = np.random.default_rng(0)
    batches = [rng.standard_normal((2, length, depth)).astype(np.float32) for length in (3, 5)]
    found = collect_inputs(layer, node, weight, batches, batches, seed=0)
    np.testing.assert_allclose(
        found.mean[0], np.concatenate([batch.reshape(-1, depth) for batch in batches]).mean(0), atol=1e-6
    )
