"""Equalization and bias absorption keep the function; int8 recovers."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import torch
from torch import nn

from compress.backends import onnx_files
from compress.backends import onnx_graph as graphs
from compress.backends.export_onnx import export_onnx
from compress.core.sentences import render
from compress.quantize.analysis.sqnr import decibels
from compress.quantize.calibration import observe as calibrate
from compress.quantize.ptq import bias_correction as bias
from compress.quantize.ptq.cross_layer_equalization import absorb_high_biases, equalization_factors, equalize, find_pairs
from compress.quantize.ptq.weighted_layers import read_weight, weighted_layers
from compress.quantize.qdq import quantize_graph as int8
from compress.quantize.qdq.placement import activations_to_calibrate
from compress.substitute.stage import Substitute
from tests.export.tiny import SPEC
from tests.quantize.ptq.chain import X, answers


def per_tensor(model: ir.Model) -> np.ndarray:
    histograms = calibrate.observe(model, activations_to_calibrate(model, ("onnxruntime",)), [{"input": X}], counts=False)
    ranges = {name: (variant.low, variant.high) for name, variant in histograms.items()}
    return answers(int8.quantize_static(model, ranges, "onnxruntime", int8.QDQOptions(per_channel=False)))


def test_equalization_keeps_the_function_and_evens_the_ranges(skewed_chain: ir.Model, chain: ir.Model) -> None:
    np.testing.assert_allclose(answers(skewed_chain), answers(chain), rtol=1e-3, atol=1e-4)
    result, count = equalize(skewed_chain)
    assert count == len(find_pairs(skewed_chain)[0]) == 4
    np.testing.assert_allclose(answers(result), answers(skewed_chain), rtol=1e-3, atol=1e-4)
    for pair in find_pairs(result)[0]:
        if pair.second.name == "depth":
            w1 = np.abs(read_weight(result, pair.first.weight)).reshape(8, -1).max(1)
            w2 = np.abs(read_weight(result, pair.second.weight)).reshape(8, -1).max(1)
            np.testing.assert_allclose(w1, w2, rtol=0.05)


def test_per_tensor_int8_collapses_when_skewed_and_is_back_when_equalized(skewed_chain: ir.Model) -> None:
    exact = answers(skewed_chain)
    broken, healed = (decibels(exact, per_tensor(variant)) for variant in (skewed_chain, equalize(skewed_chain)[0]))
    assert broken < 15
    assert healed > broken + 8


def test_a_clip_is_not_equalized_through_and_says_so(tmp_path) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU6(), nn.Conv2d(4, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    export_onnx(net, SPEC, tmp_path / "model.onnx")
    pairs, (skip,) = find_pairs(graphs.to_ir(onnx_files.load(tmp_path / "model.onnx")))
    assert pairs == ()
    assert (skip.code, skip.subject) == ("quantize_ptq.clip_between_layers", "0 and 2")
    advice = render(skip)
    assert "with ReLU instead of ReLU6 can be equalized" in advice
    assert "stage `substitute` with activations: relu" in advice
    assert Substitute(activations="relu").activations == "relu"  # what the advice names exists


def test_dead_channels_are_left_alone() -> None:
    assert equalization_factors(np.array([0.0, 4.0, 1.0]), np.array([1.0, 1.0, 0.0])).tolist() == [1.0, 2.0, 1.0]


def test_absorbing_high_biases_keeps_the_function_where_it_is_linear() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    with torch.no_grad():
        net[0].bias += torch.tensor([50.0, 0.0, 50.0, 0.0])
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        export_onnx(net, SPEC, Path(folder) / "model.onnx")
        model = graphs.to_ir(onnx_files.load(Path(folder) / "model.onnx"))
    first = weighted_layers(model)[0]
    mean, deviation = bias.output_moments(model, [first.output], [{"input": X}])[first.output]
    result = absorb_high_biases(model, {first.output: mean}, {first.output: deviation})
    low = read_weight(result, weighted_layers(result)[0].bias)
    assert (low[[0, 2]] < 20).all()
    np.testing.assert_allclose(answers(result), answers(model), rtol=1e-2, atol=0.05)
