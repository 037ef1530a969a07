from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from compress.backends import onnx_graph as graphs
from compress.quantize.qat.fake_quantize import FakeQuantize
from compress.quantize.qat.qdq_module import export_learned, learned_ranges, to_fake_quantized
from compress.quantize.settings import CalibrationSettings, PTQSettings
from compress.quantize.static_int8 import Int8Format, StaticInt8Plan, plan_static_int8
from tests.export.tiny import split


@pytest.fixture(scope="module")
def plan(exported: Path) -> StaticInt8Plan:
    return plan_static_int8(
        graphs.to_ir(graphs.load(exported)),
        [split(32, 0).inputs.numpy()],
        Int8Format(("onnxruntime", "tensorrt")),
        CalibrationSettings(method="minmax"),
        PTQSettings(),
    )


def test_ranges_follow_the_learned_scales_in_all_runtimes(plan: StaticInt8Plan) -> None:
    module = to_fake_quantized(plan, "onnxruntime", (), learned=True)
    before = learned_ranges(plan, "onnxruntime", (), module)
    trained = {name for name, part in module.quantizers.items() if isinstance(part, FakeQuantize) and part.theta.requires_grad}
    assert trained
    with torch.no_grad():
        for name in trained:
            module.quantizers[name].theta += math.log(2)
    after = learned_ranges(plan, "onnxruntime", (), module)
    for runtime in ("onnxruntime", "tensorrt"):
        changed = [name for name in after[runtime] if after[runtime][name] != before[runtime][name]]
        assert changed
        for name in changed:
            assert after[runtime][name] == pytest.approx([2 * end for end in before[runtime][name]])


def test_learned_weights_replace_integers_and_floats(plan: StaticInt8Plan) -> None:
    """Weights and their scales doubled: the same integers, scales twice as large."""
    module = to_fake_quantized(plan, "onnxruntime", (), learned=True)
    before = export_learned(plan, "onnxruntime", (), module)
    with torch.no_grad():
        for layer in module.layers.values():
            assert isinstance(layer.weight_quantizer, FakeQuantize)
            layer.weight *= 2
            layer.weight_quantizer.theta += math.log(2)
    after = export_learned(plan, "onnxruntime", (), module)
    assert set(after.grids) == set(before.grids) != set()
    for name, weight in after.grids.items():
        np.testing.assert_array_equal(weight.q, before.grids[name].q)
        np.testing.assert_allclose(weight.s, 2 * before.grids[name].s, rtol=1e-6)
