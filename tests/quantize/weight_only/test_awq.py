from __future__ import annotations

import numpy as np

from compress.backends import onnx_graph as graphs
from compress.backends import onnx_session
from compress.quantize.weight_only.awq import best_factors, scale_inputs
from compress.quantize.weight_only.matmul_nbits import rounded_layers
from compress.quantize.weight_only.round_blocks import BlockOptions
from tests.quantize.weight_only.blocks import correlated, gated, problem


def test_factors_never_err_more_than_none_and_win_where_inputs_differ_in_size() -> None:
    case = problem(96, 24)
    s, ratio = best_factors([case.w, 2 * case.w], case.statistics, BlockOptions(4, 32))
    assert ratio < 0.95
    x = case.statistics.x[0]
    scaled = case.nearest(case.w * s).dequantize() / s
    errors = [(((weight - case.w) @ x.T) ** 2).sum() for weight in (scaled, case.nearest().dequantize())]
    assert errors[0] < 0.95 * errors[1]
    flat = problem(96, 24)
    flat.statistics.x[0] = np.sign(flat.statistics.x[0])
    assert best_factors([flat.w], flat.statistics, BlockOptions(4, 32))[1] == 1.0


def test_the_float_function_stays_and_the_rounded_one_is_closer_to_it() -> None:
    model, x = graphs.to_ir(gated()), correlated(256, 32, seed=3)
    options = BlockOptions(4, 16, rounding="awq", batches=[{"x": part} for part in np.split(x, 4)])
    result = scale_inputs(model, options)
    assert result.skipped == ()
    assert [note.values["tensors"] for note in result.notes] == [2]  # behind the norm, and the product with the gate
    expected, after = (onnx_session.run(onnx_session.create_session(net), x) for net in (model, result.model))
    np.testing.assert_allclose(after, expected, rtol=1e-3, atol=1e-3)
    errors = []
    for net in (result.model, model):
        found = onnx_session.run(onnx_session.create_session(rounded_layers(net, options).model), x)
        errors.append(float(((found - expected) ** 2).sum()))
    assert errors[0] < 0.9 * errors[1]
