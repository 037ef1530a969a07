from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from pydantic import ValidationError
from torch import Tensor, nn

from compress.backends import onnx_graph as graphs
from compress.core.progress import NullReporter
from compress.core.stage import Candidate, Context
from compress.quantize.analysis.sqnr import decibels
from compress.quantize.ptq.smoothquant import find_sites, smooth_linear_inputs, smoothing_factors
from compress.quantize.settings import CalibrationSettings, PTQSettings
from compress.quantize.stage import Quantize
from compress.quantize.static_int8 import plan_static_int8
from tests.export.tiny import SPEC, split


class Block(nn.Module):
    """Pre-norm attention and MLP."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc1, self.fc2 = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm1(x)).chunk(3, dim=-1)
        x = x + self.proj(torch.softmax(q @ k.transpose(1, 2) / math.sqrt(q.shape[-1]), -1) @ v)
        return x + self.fc2(nn.functional.gelu(self.fc1(self.norm2(x))))


class Vit(nn.Module):
    """Patches, two blocks, the first token's answer."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 4, stride=4)
        self.blocks = nn.Sequential(Block(width), Block(width))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.blocks(self.patches(x).flatten(2).transpose(1, 2)))[:, 0])


def with_outliers(net: Vit, factor: float = 80.0) -> Vit:
    """The same function, two channels of every layer normalisation `factor` times as large and their weights so much less."""
    with torch.no_grad():
        for block in net.blocks:
            for norm, linear in ((block.norm1, block.qkv), (block.norm2, block.fc1)):
                for channel in (3, 11):
                    norm.weight[channel] *= factor
                    norm.bias[channel] *= factor
                    linear.weight[:, channel] /= factor
    return net


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from compress.backends.export_onnx import export_onnx

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("vit") / "vit.onnx"
    export_onnx(with_outliers(Vit().eval()), SPEC, path)
    return path


BATCHES = [split(16, seed).inputs.numpy() for seed in range(2)]


def answers(model: onnx.ModelProto) -> np.ndarray:
    return graphs.run(graphs.create_session(model), split(64, 9).inputs.numpy())


def int8(model: onnx.ModelProto, ladder: PTQSettings) -> onnx.ModelProto:
    static = plan_static_int8(
        model, BATCHES, ("onnxruntime",), CalibrationSettings(method="minmax"), ladder,
        per_channel=True, symmetric=None, seven_bit_weights=False, exclude=(), reporter=NullReporter(),
    )  # fmt: skip
    return static.build("onnxruntime", (), SPEC)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 0.8, 1.0])
def test_the_function_stays_the_same_in_float(vit: Path, alpha: float) -> None:
    model = graphs.load(vit)
    before = model.SerializeToString()
    made, _, _ = smooth_linear_inputs(model, BATCHES, alpha)
    assert model.SerializeToString() == before
    graphs.check(made)
    exact = answers(model)
    np.testing.assert_allclose(answers(made), exact, atol=1e-5 * np.abs(exact).max())


def test_the_ranges_are_those_of_the_formula(vit: Path) -> None:
    """After smoothing with α, max |X_j / s_j| = max |X_j|^(1−α) max |W_j|^(1−α): the two difficulties are one."""
    model = graphs.load(vit)
    made, _, _ = smooth_linear_inputs(model, BATCHES, 0.5)
    (site, *_), _ = find_sites(made)
    from compress.quantize.ptq.smoothquant import _by_input, channel_absmax

    x = channel_absmax(made, [site.tensor], BATCHES, NullReporter())[site.tensor]
    np.testing.assert_allclose(x, _by_input(made, site.readers[0]), rtol=1e-4)


def test_factors_by_hand_and_dead_channels_stay() -> None:
    s = smoothing_factors(np.array([16.0, 0.0, 4.0, np.inf]), np.array([4.0, 1.0, 0.0, 1.0]), 0.5)
    np.testing.assert_allclose(s, [2.0, 1.0, 1.0, 1.0])
    np.testing.assert_allclose(smoothing_factors(np.array([8.0]), np.array([2.0]), 1.0), [8.0])
    np.testing.assert_allclose(smoothing_factors(np.array([8.0]), np.array([2.0]), 0.0), [0.5])


def test_it_lowers_the_error_of_int8_where_channels_stand_out(vit: Path) -> None:
    model = graphs.load(vit)
    exact = answers(model)
    plain, smoothed = (decibels(exact, answers(int8(model, ladder))) for ladder in (PTQSettings(), PTQSettings(smooth=0.5)))
    assert smoothed > plain + 6  # half the error and better


def test_norms_and_heads_are_smoothed_and_the_rest_is_told_with_its_reason(vit: Path) -> None:
    _, skipped, note = smooth_linear_inputs(graphs.load(vit), BATCHES, 0.5)
    assert "5 linear layers" in note  # four behind the blocks' norms, and the head behind the last
    assert len(skipped) == 4
    for skip in skipped:
        assert "fc2" in skip.what or "proj" in skip.what
        assert "which no factor can be moved into" in skip.reason


def layered(*, also: str = "", relu: bool = True, post: bool = False) -> onnx.ModelProto:
    """(LN →) linear → ReLU → two linear layers that share what they read."""
    random = np.random.default_rng(0)
    weights = {
        "w1": random.normal(size=(6, 6)) * np.array([1, 1, 50, 1, 1, 1]), "b1": random.normal(size=6),
        "w2": random.normal(size=(4, 6)), "w3": random.normal(size=(6, 4)), "g": np.ones(6), "e": np.zeros(6),
    }  # fmt: skip
    source = "n" if post else "r" if relu else "a"
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["m"], "first"),
        helper.make_node("Add", ["m", "b1"], ["a"], "bias"),
        helper.make_node("Relu", ["a"], ["r"], "relu"),
        helper.make_node("LayerNormalization", ["r", "g", "e"], ["n"], "norm"),
        helper.make_node("Gemm", [source, "w2"], ["y2"], "second", transB=1),
        helper.make_node("MatMul", [source, "w3"], ["y3"], "third"),
        helper.make_node("Add", ["y2", "y3"], ["y"], "sum"),
    ]
    nodes = [node for node in nodes if (node.name != "norm" or post) and (node.name != "relu" or relu or post)]
    if also:
        nodes.append(helper.make_node("Sigmoid", [also], ["z"], "other"))
    value = helper.make_tensor_value_info
    outputs = [value("y", TensorProto.FLOAT, ["n", 4])] + [value("z", TensorProto.FLOAT, None)] * bool(also)
    initializers = [numpy_helper.from_array(each.astype(np.float32), name) for name, each in weights.items()]
    graph = helper.make_graph(nodes, "g", [value("x", TensorProto.FLOAT, ["n", 6])], outputs, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


X = [np.random.default_rng(1).normal(size=(32, 6)).astype(np.float32)]


@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("post", [True, False])
def test_linear_layers_take_factors_in_as_well_and_readers_share_them(relu: bool, post: bool) -> None:
    model = layered(relu=relu, post=post)
    made, skipped, note = smooth_linear_inputs(model, X, 0.5)
    assert "2 linear layers" in note
    assert [skip.what for skip in skipped] == ["SmoothQuant of first"]
    assert "network's input" in skipped[0].reason
    exact, found = (graphs.create_session(each).run(["y"], {"x": X[0]})[0] for each in (model, made))
    np.testing.assert_allclose(found, exact, atol=1e-5 * np.abs(exact).max())
    assert not np.allclose(graphs_weight(made, "w2"), graphs_weight(model, "w2"))


def graphs_weight(model: onnx.ModelProto, name: str) -> np.ndarray:
    return numpy_helper.to_array(next(one for one in model.graph.initializer if one.name == name))


def test_what_something_else_reads_too_is_refused() -> None:
    _, skipped, note = smooth_linear_inputs(layered(also="r"), X, 0.5)
    assert "no linear layer reads" in note
    assert {skip.what for skip in skipped} == {f"SmoothQuant of {name}" for name in ("first", "second", "third")}
    assert any("also read by Sigmoid other" in skip.reason for skip in skipped)


def test_what_stays_in_float_does_not_ask_but_is_kept_right() -> None:
    model = layered(post=True)
    made, skipped, _ = smooth_linear_inputs(model, X, 1.0, exclude=("third", "first"))
    assert skipped == ()
    exact, found = (graphs.create_session(each).run(["y"], {"x": X[0]})[0] for each in (model, made))
    np.testing.assert_allclose(found, exact, atol=1e-5 * np.abs(exact).max())


def test_a_network_without_linear_layers_says_so(exported: Path) -> None:
    model = graphs.load(exported)
    made, _, note = smooth_linear_inputs(model, BATCHES, 0.5)
    assert made is model or made.SerializeToString() == model.SerializeToString()
    assert "no linear layer reads" in note


@pytest.mark.parametrize("alpha", [-0.1, 1.1])
def test_alpha_has_limits(alpha: float) -> None:
    with pytest.raises(ValidationError, match="smooth"):
        Quantize(ladder={"smooth": alpha})


def test_the_stage_records_what_was_smoothed(vit: Path, context: Context) -> None:
    context = dataclasses.replace(context, to_onnx=lambda _: vit)
    outcome = Quantize(ladder={"smooth": 0.5}, calibration={"samples": 16}).run(Candidate(SPEC, Vit()), context)
    assert any(note.startswith("SmoothQuant (α = 0.5): 5 linear layers") for note in outcome.notes)
    assert sum(skip.what.startswith("SmoothQuant of") for skip in outcome.skipped) == 4
