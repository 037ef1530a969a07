from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from compress.backends import onnx_files
from compress.backends import onnx_graph as graphs
from compress.backends.feeds import batch_samples
from compress.quantize.analysis.sqnr import decibels, layer_sqnr
from tests.export.tiny import split


def test_decibels_are_ten_times_the_logarithm_of_the_ratio_of_energies() -> None:
    y = np.array([[3.0, 4.0]], np.float32)
    assert decibels(y, y + np.array([[0.5, 0.0]], np.float32)) == pytest.approx(20.0)
    assert decibels(y, y) == np.inf


def test_only_layers_after_a_changed_weight_have_noise(exported: Path) -> None:
    model = onnx_files.load(exported)
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    (weight,) = (tensor for tensor in changed.graph.initializer if tensor.name == "head.weight")
    values = onnx.numpy_helper.to_array(weight)
    weight.CopyFrom(onnx.numpy_helper.from_array((1.1 * values).astype(np.float32), weight.name))
    noise = layer_sqnr(graphs.to_ir(model), graphs.to_ir(changed), batch_samples(next(split(4, 3).ordered(4))))
    assert set(noise) == {"stem.0", "depthwise.0", "point.0", "wide", "head"}
    assert all(np.isinf(value) for name, value in noise.items() if name != "head")
    assert 0 < noise["head"] < 60
