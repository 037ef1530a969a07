from __future__ import annotations

import numpy as np
import pytest

from compress.backends import onnx_graph as graphs
from compress.backends import onnx_session
from compress.quantize.ptq.weighted_layers import weighted_layers
from compress.quantize.weight_only.matmul_nbits import rounded_layers
from compress.quantize.weight_only.round_blocks import BlockOptions, needs_data, round_blocks
from tests.quantize.weight_only.blocks import correlated, gated


@pytest.mark.parametrize("rounding", ["nearest", "k_quant", "gptq"])
def test_every_layer_is_rounded_and_the_network_computes_with_it(rounding: str) -> None:
    model, x = graphs.to_ir(gated()), correlated(256, 32, seed=3)
    options = BlockOptions(4, 16, rounding=rounding, batches=[{"x": x}] if needs_data(rounding) else [])
    weights, notes = round_blocks(model, weighted_layers(model), options)
    assert {name for name, _ in weights} == {"w_gate", "w_up", "w_down"}
    assert [note.code for note in notes] == (["quantize_ptq.rounding_error"] if rounding == "gptq" else [])
    changed = {name: weight.dequantize().T for (name, _), weight in weights.items()}
    expected = onnx_session.run(onnx_session.create_session(graphs.with_initializers(model, changed)), x)
    found = onnx_session.run(onnx_session.create_session(rounded_layers(model, options).model), x)
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-2)


def test_gptq_is_closer_to_the_float_outputs_than_nearest() -> None:
    model, x = graphs.to_ir(gated()), correlated(256, 32, seed=3)
    expected = onnx_session.run(onnx_session.create_session(model), x)
    errors = []
    for rounding in ("gptq", "nearest"):
        net = rounded_layers(model, BlockOptions(4, 16, rounding=rounding, batches=[{"x": x}])).model
        errors.append(float(((onnx_session.run(onnx_session.create_session(net), x) - expected) ** 2).sum()))
    assert errors[0] < 0.8 * errors[1]
