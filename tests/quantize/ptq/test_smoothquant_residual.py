from functools import cache
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from torch import Tensor, nn

from compress.backends import onnx_files, onnx_session
from compress.backends import onnx_graph as graphs
from compress.backends.export_onnx import export_onnx
from compress.core.progress import NullReporter
from compress.quantize.analysis.sqnr import decibels
from compress.quantize.ptq.smoothquant import channel_absmax
from compress.quantize.ptq.smoothquant_residual import find_streams, smooth_residual_streams
from compress.quantize.settings import CalibrationSettings, PTQSettings
from compress.quantize.static_int8 import Int8Format, plan_static_int8
from tests.export.tiny import SPEC, split

BATCHES = [{"input": split(16, seed).inputs.numpy()} for seed in range(2)]
WIDTH = 16


class Gated(nn.Module):
    """Expansion, depthwise convolution, squeeze-excite and projection around a residual stream; Hardswish closes the inside."""

    def __init__(self, act: type[nn.Module]) -> None:
        super().__init__()
        self.grow, self.depth = nn.Conv2d(WIDTH, 24, 1), nn.Conv2d(24, 24, 3, padding=1, groups=24)
        self.squeeze, self.excite = nn.Conv2d(24, 8, 1), nn.Conv2d(8, 24, 1)
        self.shrink, self.act = nn.Conv2d(24, WIDTH, 1), act()

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.depth(self.act(self.grow(x))))
        gate = torch.sigmoid(self.excite(torch.relu(self.squeeze(y.mean((2, 3), keepdim=True)))))
        return x + self.shrink(y * gate)


class Net(nn.Module):
    """Two gated blocks, a grouped convolution, pooled answers."""

    def __init__(self, act: type[nn.Module]) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, WIDTH, 3, padding=1)
        self.one, self.two = Gated(act), Gated(act)
        self.last, self.head = nn.Conv2d(WIDTH, 8, 3, padding=1, groups=4), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.last(self.two(self.one(self.stem(x)))))
        return self.head(nn.functional.max_pool2d(x, 2).mean((2, 3)))


def exported(act: type[nn.Module], folder: Path) -> onnx.ModelProto:
    """Two channels of the residual stream 60 times as large, and what reads them so much less; exported once."""
    return onnx.load_model_from_string(_exported(act, folder))


@cache
def _exported(act: type[nn.Module], folder: Path) -> bytes:
    torch.manual_seed(0)
    net = Net(act).eval()
    with torch.no_grad():
        for channel in (2, 9):
            for maker in (net.stem, net.one.shrink, net.two.shrink):
                maker.weight[channel] *= 60
                maker.bias[channel] *= 60
            for reader in (net.one.grow, net.two.grow):
                reader.weight[:, channel] /= 60
            rows = slice(channel // 4 * 2, channel // 4 * 2 + 2)
            net.last.weight[rows, channel % 4] /= 60
    export_onnx(net, SPEC, folder / "net.onnx")
    return onnx_files.load(folder / "net.onnx").SerializeToString()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("networks")


@pytest.fixture(params=[nn.Hardswish, nn.ReLU])
def model(request, folder: Path) -> onnx.ModelProto:
    return exported(request.param, folder)


def smoothed(model: onnx.ModelProto, alpha: float = 0.5, exclude: tuple[str, ...] = ()) -> ir.Model:
    result, _ = smooth_residual_streams(graphs.to_ir(model), BATCHES, alpha, exclude=exclude, reporter=NullReporter())
    return result.model


def answers(model: onnx.ModelProto | ir.Model) -> np.ndarray:
    """Unfused, since fused kernels saturate on some processors."""
    return onnx_session.run(onnx_session.create_session(model, optimised=False), split(64, 9).inputs.numpy())


def int8(model: onnx.ModelProto, **ptq) -> onnx.ModelProto:
    static = plan_static_int8(
        graphs.to_ir(model), BATCHES, Int8Format(("onnxruntime",)), CalibrationSettings(method="minmax"), PTQSettings(**ptq)
    )
    return static.build("onnxruntime", (), SPEC)


def ends(stream) -> tuple[set[str], set[str]]:
    return {layer.name for layer in stream.producers}, {layer.name for layer in stream.readers}


def test_a_residual_stream_is_one_with_all_its_makers_and_readers(folder: Path) -> None:
    streams = find_streams(graphs.to_ir(exported(nn.Hardswish, folder)))
    assert [ends(variant) for variant in streams] == [
        ({"stem", "one.shrink", "two.shrink"}, {"one.grow", "two.grow", "last"}),
        ({"one.squeeze"}, {"one.excite"}),
        ({"two.squeeze"}, {"two.excite"}),
        ({"last"}, {"head"}),
    ]
    assert streams[0].channels == WIDTH


def test_what_relu_passes_is_a_stream_too_with_the_pool_and_the_gated_product(folder: Path) -> None:
    results = [ends(variant) for variant in find_streams(graphs.to_ir(exported(nn.ReLU, folder)))]
    assert ({"one.grow"}, {"one.depth"}) in results
    assert ({"one.depth"}, {"one.squeeze", "one.shrink"}) in results


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_the_function_stays_the_same_in_float(model: onnx.ModelProto, alpha: float) -> None:
    before, exact = model.SerializeToString(), answers(model)
    quantized = smoothed(model, alpha)
    assert model.SerializeToString() == before
    np.testing.assert_allclose(answers(quantized), exact, atol=2e-5 * np.abs(exact).max())


def test_all_channels_of_a_stream_have_one_range_with_alpha_one(model: onnx.ModelProto) -> None:
    quantized = smoothed(model, 1.0)
    for variant in find_streams(quantized):
        statistics = channel_absmax(quantized, variant.tensors, BATCHES, NullReporter(), axis=1)
        alive = np.max(list(statistics.values()), axis=0)
        np.testing.assert_allclose(alive[alive > 0], 1.0, rtol=1e-3)


def test_int8_loses_what_loud_channels_drown_and_has_it_back(model: onnx.ModelProto) -> None:
    exact = answers(model)
    plain, better = (decibels(exact, answers(int8(model, **ptq))) for ptq in ({}, {"smooth": 0.5}))
    assert better > plain + 6


def test_a_stream_that_only_layers_in_float_read_is_left_alone(folder: Path) -> None:
    model = exported(nn.Hardswish, folder)
    values = {t.name: t.SerializeToString() for t in model.graph.initializer}
    quantized = graphs.to_proto(smoothed(model, exclude=("one.grow", "two.grow", "last")))
    changed = {t.name for t in quantized.graph.initializer if t.SerializeToString() != values[t.name]}
    assert changed
    assert not any("stem" in name or "shrink" in name for name in changed)


def test_what_is_done_is_told_once_and_nothing_is_said_to_be_left(folder: Path) -> None:
    static = plan_static_int8(
        graphs.to_ir(exported(nn.ReLU, folder)),
        BATCHES,
        Int8Format(("onnxruntime",)),
        CalibrationSettings(method="minmax"),
        PTQSettings(smooth=0.5),
    )
    assert [fact.code for fact in static.notes].count("quantize_ptq.streams_smoothed") == 1
    assert not any("head" in fact.subject for fact in static.skipped)


def test_a_product_with_something_else_closes_a_stream(tmp_path: Path) -> None:
    class Squared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            y = self.first(x)
            return self.second(y * y).mean((2, 3))

    export_onnx(Squared().eval(), SPEC, tmp_path / "net.onnx")
    assert not find_streams(graphs.to_ir(onnx_files.load(tmp_path / "net.onnx")))
