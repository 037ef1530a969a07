"""Rounding layer by layer: corrected biases restore means, and integers arrive in the file."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from compress.backends import onnx_graph as graphs
from compress.quantize.analysis.sqnr import layer_sqnr
from compress.quantize.calibration import observe as calibrate
from compress.quantize.ptq.round_weights import RoundingOptions, round_weights
from compress.quantize.ptq.weighted_layers import read_weight
from compress.quantize.qdq import quantize_graph as int8
from compress.quantize.qdq.placement import activations_to_calibrate
from tests.quantize.ptq.chain import NAMES, X, answers


@pytest.mark.parametrize("correction", ["analytic", "empirical"])
def test_corrected_biases_give_the_float_means_back(chain: ir.Model, correction: str) -> None:
    options = RoundingOptions(bits=3, per_channel=True, search=False, rounding="nearest", iterations=1)
    result = round_weights(chain, [{"input": X}], replace(options, correction=correction))
    plain = round_weights(chain, [{"input": X}], options)
    errors = []
    for variant in (plain, result):
        values = {
            name: variant.layers[name].from_matrix(grid.dequantize(), read_weight(variant.model, name))
            for name, grid in variant.weights.items()
        }
        shifted = graphs.with_initializers(variant.model, values)
        errors.append(float(np.abs(answers(shifted).mean(0) - answers(chain).mean(0)).max()))
    assert errors[1] < errors[0] * (0.01 if correction == "empirical" else 0.7)


def test_grids_stand_in_the_file(chain: ir.Model) -> None:
    options = RoundingOptions(bits=4, per_channel=True, search=True, rounding="adaround", iterations=20, correction="analytic")
    prepared = round_weights(chain, [{"input": X}], options)
    histograms = calibrate.observe(
        prepared.model, activations_to_calibrate(chain, ("onnxruntime",)), [{"input": X}], counts=False
    )
    ranges = {name: (variant.low, variant.high) for name, variant in histograms.items()}
    quantized = int8.quantize_static(prepared.model, ranges, "onnxruntime", int8.QDQOptions(grids=prepared.weights))
    values = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in quantized.graph.initializer}
    maker = {node.output[0]: node for node in quantized.graph.node}
    for node in quantized.graph.node:
        if node.name in NAMES:
            stored, step = (values[name] for name in maker[node.input[1]].input[:2])
            layer = next(variant for variant in prepared.layers.values() if variant.name == node.name)
            np.testing.assert_array_equal(layer.to_matrix(stored), prepared.weights[layer.weight].q)
            np.testing.assert_array_equal(step, prepared.weights[layer.weight].s.reshape(-1))
    result = layer_sqnr(chain, graphs.to_ir(quantized), [{"input": X[index : index + 1]} for index in range(4)])
    assert tuple(result) == NAMES
    assert 0 < min(result.values()) < 40
