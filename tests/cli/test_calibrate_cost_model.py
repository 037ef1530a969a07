from itertools import cycle
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from compress.cli import calibrate_cost_model as module
from compress.cli.calibrate_cost_model import SCALES, calibrate_device, quantized
from compress.core.errors import DeviceError
from tests.profile.onnx_models import network


def test_networks_are_quantized_as_the_stage_does_with_scales_that_differ():
    model = quantized(network())
    onnx.checker.check_model(model)
    operators = [node.op_type for node in model.graph.node]
    assert "QuantizeLinear" in operators
    assert "DequantizeLinear" in operators
    weights = {weight.name: numpy_helper.to_array(weight) for weight in model.graph.initializer}
    scales = {float(weights[node.input[1]]) for node in model.graph.node if node.op_type == "QuantizeLinear"}
    expected = {9.0 * scale / 255 for _, scale in zip(range(4), cycle(SCALES), strict=False)}
    assert len(scales) > 1
    assert all(np.isclose(scale, list(expected)).any() for scale in scales)


@pytest.mark.parametrize(("threads", "used"), [(None, 1), (3, 3)])
def test_the_calibration_is_saved_for_its_device_and_threads(threads, used, tmp_path, monkeypatch):
    calls, saved = [], []
    result = SimpleNamespace()

    def calibrate(device, quantize, *, threads, reporter):
        calls.append((device.name, quantize, threads))
        return result

    monkeypatch.setattr(module, "calibrate", calibrate)
    monkeypatch.setattr(module.calibration, "save", lambda *arguments: saved.append(arguments))
    monkeypatch.setattr(module.calibration, "default_path", lambda name, count: tmp_path / f"{name}-{count}.json")
    _, path = calibrate_device("host", threads=threads)
    assert calls == [("host", quantized, used)]
    assert saved == [(result, path)]
    assert path == tmp_path / f"host-{used}.json"
    assert calibrate_device("host", tmp_path / "mine.json")[1] == tmp_path / "mine.json"


def test_a_device_elsewhere_is_refused():
    with pytest.raises(DeviceError, match="is not this machine"):
        calibrate_device("jetson")
