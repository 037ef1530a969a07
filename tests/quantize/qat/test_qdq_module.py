from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from compress.backends import onnx_files
from compress.backends import onnx_graph as graphs
from compress.backends.export_onnx import export_onnx
from compress.quantize.qat.fake_quantize import FakeQuantize
from compress.quantize.qat.qdq_module import export_learned, freeze_like, learned_ranges, to_fake_quantized
from compress.quantize.settings import CalibrationSettings, PTQSettings
from compress.quantize.static_int8 import Int8Format, StaticInt8Plan, plan_static_int8
from tests.export.tiny import SPEC, split


@pytest.fixture(scope="module")
def plan(exported: Path) -> StaticInt8Plan:
    return plan_static_int8(
        graphs.to_ir(onnx_files.load(exported)),
        [{"input": split(32, 0).inputs.numpy()}],
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


class Tokens(nn.Module):
    """Linear layers on tokens, which the exporter writes as products with transposed weights."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.attend = nn.Conv2d(SPEC.channels, 8, 4, 4), nn.MultiheadAttention(8, 2, batch_first=True)
        self.first, self.second, self.head = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, len(SPEC.classes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.embed(x).flatten(2).transpose(1, 2)
        x = x + self.attend(x, x, x, need_weights=False)[0]
        return self.head(torch.relu(self.second(torch.relu(self.first(x)))).mean(1))


def test_weights_that_the_exporter_transposed_are_frozen_with_their_module(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = Tokens().eval()
    export_onnx(network, SPEC, tmp_path / "model.onnx")
    for frozen in (network.attend, network.second, network.embed.weight):
        frozen.requires_grad_(False)
    model = graphs.to_ir(onnx_files.load(tmp_path / "model.onnx"))
    images = split(16, 0).inputs.numpy()
    tokens = plan_static_int8(model, [{"input": images}], Int8Format(("onnxruntime",)), CalibrationSettings(), PTQSettings())
    module = to_fake_quantized(tokens, "onnxruntime", (), learned=True)
    assert freeze_like(module, tokens, network) == 4
    trained = {name for name, layer in module.layers.items() if layer.weight.requires_grad}
    assert {name.split("/")[0] for name in trained} == {"first", "head"}
    assert module.layers["embed"].bias.requires_grad
