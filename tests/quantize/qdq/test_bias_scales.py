"""Networks whose bias needs scales that the quantizer does not choose, as ONNX Runtime's fused kernels compute them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from torch import nn

from compress.backends import onnx_files, onnx_session
from compress.backends import onnx_graph as graphs
from compress.backends.export_onnx import export_onnx
from compress.quantize.qat.qdq_module import export_learned, to_fake_quantized
from compress.quantize.settings import CalibrationSettings, PTQSettings
from compress.quantize.static_int8 import Int8Format, StaticInt8Plan, plan_static_int8
from compress.quantize.target_requirements import needs_7bit_weights
from tests.export.tiny import SPEC, split

X = split(16, 0).inputs
RUNTIMES = ("onnxruntime", "openvino", "tensorrt")


def network(kind: str) -> nn.Module:
    """Two convolutions and a linear layer; the second convolution has weights of 0, a dead input, or a bias past int32."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        first, second, head = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 1), nn.Linear(8, 4)
    with torch.no_grad():
        second.bias.copy_(torch.linspace(0.02, 0.4, 8))
        if kind == "zero filters":
            first.weight.mul_(40)
            second.weight[::2] = 0
        elif kind == "zero weights":
            first.weight.mul_(40)
            second.weight.zero_()
        elif kind == "dead input":
            first.bias.fill_(-1e3)
        elif kind == "dead input and zero weights":
            first.bias.fill_(-1e3)
            second.weight.zero_()
        else:  # the bias past int32
            first.weight.mul_(1e-12)
            first.bias.zero_()
            second.weight.mul_(1e-12)
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), head).eval()


KINDS = ("zero filters", "zero weights", "dead input", "dead input and zero weights", "bias past int32")


@pytest.fixture(scope="module", params=KINDS)
def layers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, ir.Model]:
    """A network, and its exported graph."""
    net, path = network(request.param), tmp_path_factory.mktemp("bias") / "model.onnx"
    export_onnx(net, SPEC, path)
    return net, graphs.to_ir(onnx_files.load(path))


def plan_of(model: ir.Model, **ptq: object) -> StaticInt8Plan:
    settings = PTQSettings.model_validate(ptq)
    return plan_static_int8(
        model,
        [{"input": X.numpy()}],
        Int8Format(RUNTIMES, seven_bit_weights=needs_7bit_weights()),
        CalibrationSettings(method="minmax"),
        settings,
    )


def relative_error(model: onnx.ModelProto, net: nn.Module, *, optimised: bool) -> float:
    session = onnx_session.create_session(model, optimised=optimised)
    exact = net(X).detach().numpy()
    size = session.get_inputs()[0].shape[0]
    parts = X.split(size if isinstance(size, int) else len(X))
    outputs = np.concatenate([onnx_session.run(session, part.numpy()) for part in parts])
    return float(np.abs(outputs - exact).max() / np.abs(exact).max())


def test_fused_kernels_keep_the_bias(layers: tuple[nn.Module, ir.Model]) -> None:
    net, model = layers
    plan = plan_of(model)
    for runtime in RUNTIMES:
        built = plan.build(runtime, (), SPEC)
        if runtime != "tensorrt" or not needs_7bit_weights():  # its file keeps 8 bits, whose sums saturate on this processor
            assert relative_error(built, net, optimised=True) < 0.03
        assert relative_error(built, net, optimised=False) < 0.03


def test_learned_rounding_and_trained_scales_keep_it_too(layers: tuple[nn.Module, ir.Model]) -> None:
    net, model = layers
    plan = plan_of(model, weights={"rounding": "gptq", "bits": 7})
    trained = export_learned(plan, "onnxruntime", (), to_fake_quantized(plan, "onnxruntime", (), learned=True))
    for built in (plan, trained):
        assert relative_error(built.build("onnxruntime", (), SPEC), net, optimised=True) < 0.03


def test_other_scales_stay(exported: Path) -> None:
    """In a network without such layers, nothing changes: one scale per channel, its largest weight at the largest integer."""
    plan = plan_of(graphs.to_ir(onnx_files.load(exported)))
    quantized = plan.with_qdq("onnxruntime", ())
    for layer, weight in (("wide", "wide.weight"), ("point.0", "point.0.weight")):
        node = next(node for node in quantized.graph if node.name == layer)
        scale = graphs.constant(node.inputs[1].producer().inputs[1])
        rows = np.abs(graphs.constant(plan.model.graph.initializers[weight])).reshape(len(scale), -1)
        np.testing.assert_allclose(scale, rows.max(1) / (64 if needs_7bit_weights() else 127), rtol=0.02)
