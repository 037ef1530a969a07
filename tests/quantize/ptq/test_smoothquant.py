from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from pydantic import ValidationError
from torch import Tensor, nn

from compress.backends import onnx_files, onnx_session
from compress.backends import onnx_graph as graphs
from compress.core.progress import NullReporter
from compress.core.sentences import render, render_subject
from compress.core.stage import Candidate, Context
from compress.quantize.analysis.sqnr import decibels
from compress.quantize.ptq.smoothquant import find_sites, smooth_linear_inputs, smoothing_factors
from compress.quantize.settings import CalibrationSettings, PTQSettings
from compress.quantize.stage import Quantize
from compress.quantize.static_int8 import Int8Format, plan_static_int8
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
def vit_network() -> Vit:
    torch.manual_seed(0)
    return with_outliers(Vit().eval())


@pytest.fixture(scope="module")
def vit(vit_network: Vit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from compress.backends.export_onnx import export_onnx

    path = tmp_path_factory.mktemp("vit") / "vit.onnx"
    export_onnx(vit_network, SPEC, path)
    return path


BATCHES = [{"input": split(16, seed).inputs.numpy()} for seed in range(2)]


def answers(model: onnx.ModelProto | ir.Model) -> np.ndarray:
    return onnx_session.run(onnx_session.create_session(model), split(64, 9).inputs.numpy())


def int8(model: onnx.ModelProto, ptq: PTQSettings) -> onnx.ModelProto:
    static = plan_static_int8(
        graphs.to_ir(model), BATCHES, Int8Format(("onnxruntime",)), CalibrationSettings(method="minmax"), ptq
    )
    return static.build("onnxruntime", (), SPEC)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 0.8, 1.0])
def test_the_function_stays_the_same_in_float(vit: Path, alpha: float) -> None:
    model = graphs.to_ir(onnx_files.load(vit))
    quantized = smooth_linear_inputs(model, BATCHES, alpha).model
    assert graphs.to_proto(model).SerializeToString() == vit.read_bytes()
    onnx_files.check(graphs.to_proto(quantized))
    exact = answers(model)
    np.testing.assert_allclose(answers(quantized), exact, atol=1e-5 * np.abs(exact).max())


def test_the_ranges_are_those_of_the_formula(vit: Path) -> None:
    """After smoothing with α, max |X_j / s_j| = max |X_j|^(1−α) max |W_j|^(1−α): the two difficulties are one."""
    quantized = smooth_linear_inputs(graphs.to_ir(onnx_files.load(vit)), BATCHES, 0.5).model
    (site, *_), _ = find_sites(quantized)
    from compress.quantize.ptq.smoothquant import _input_absmax, channel_absmax

    x = channel_absmax(quantized, [site.tensor], BATCHES, NullReporter())[site.tensor]
    np.testing.assert_allclose(x, _input_absmax(quantized, site.readers[0]), rtol=1e-4)


def test_factors_by_hand_and_dead_channels_stay() -> None:
    s = smoothing_factors(np.array([16.0, 0.0, 4.0, np.inf]), np.array([4.0, 1.0, 0.0, 1.0]), 0.5)
    np.testing.assert_allclose(s, [2.0, 1.0, 1.0, 1.0])
    np.testing.assert_allclose(smoothing_factors(np.array([8.0]), np.array([2.0]), 1.0), [8.0])
    np.testing.assert_allclose(smoothing_factors(np.array([8.0]), np.array([2.0]), 0.0), [0.5])


def test_it_lowers_the_error_of_int8_where_channels_stand_out(vit: Path) -> None:
    model = onnx_files.load(vit)
    exact = answers(model)
    plain, smoothed = (decibels(exact, answers(int8(model, ptq))) for ptq in (PTQSettings(), PTQSettings(smooth=0.5)))
    assert smoothed > plain + 6  # half the error and better


def test_norms_and_heads_are_smoothed_and_the_rest_is_told_with_its_reason(vit: Path) -> None:
    result = smooth_linear_inputs(graphs.to_ir(onnx_files.load(vit)), BATCHES, 0.5)
    assert result.notes[0].values["layers"] == 5  # four behind the blocks' norms, and the head behind the last
    assert len(result.skipped) == 4
    for fact in result.skipped:
        assert "fc2" in fact.subject or "proj" in fact.subject
        assert fact.code == "quantize_ptq.smooth_not_absorbable"
        assert "which cannot absorb a factor" in render(fact)


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
    initializers = [numpy_helper.from_array(item.astype(np.float32), name) for name, item in weights.items()]
    graph = helper.make_graph(nodes, "g", [value("x", TensorProto.FLOAT, ["n", 6])], outputs, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


X = [{"x": np.random.default_rng(1).normal(size=(32, 6)).astype(np.float32)}]


@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("post", [True, False])
def test_linear_layers_take_factors_in_as_well_and_readers_share_them(relu: bool, post: bool) -> None:
    model = layered(relu=relu, post=post)
    result = smooth_linear_inputs(graphs.to_ir(model), X, 0.5)
    quantized = graphs.to_proto(result.model)
    assert [(fact.code, fact.values["layers"]) for fact in result.notes] == [("quantize_ptq.linear_inputs_smoothed", 2)]
    assert [(fact.code, fact.subject) for fact in result.skipped] == [("quantize_ptq.smooth_reads_input", "first")]
    assert render_subject(result.skipped[0]) == "SmoothQuant of first"
    exact, results = (onnx_session.create_session(item).run(["y"], X[0])[0] for item in (model, quantized))
    np.testing.assert_allclose(results, exact, atol=1e-5 * np.abs(exact).max())
    assert not np.allclose(graphs_weight(quantized, "w2"), graphs_weight(model, "w2"))


def graphs_weight(model: onnx.ModelProto, name: str) -> np.ndarray:
    return numpy_helper.to_array(next(variant for variant in model.graph.initializer if variant.name == name))


def test_what_something_else_reads_too_is_refused() -> None:
    result = smooth_linear_inputs(graphs.to_ir(layered(also="r")), X, 0.5)
    assert [fact.code for fact in result.notes] == ["quantize_ptq.nothing_to_smooth"]
    assert {fact.subject for fact in result.skipped} == {"first", "second", "third"}
    assert any(fact.values.get("reader") == "Sigmoid other" for fact in result.skipped)


def test_what_stays_in_float_does_not_ask_but_is_kept_right() -> None:
    model = layered(post=True)
    result = smooth_linear_inputs(graphs.to_ir(model), X, 1.0, exclude=("third", "first"))
    assert result.skipped == ()
    exact, results = (onnx_session.create_session(item).run(["y"], X[0])[0] for item in (model, result.model))
    np.testing.assert_allclose(results, exact, atol=1e-5 * np.abs(exact).max())


def test_a_network_without_linear_layers_says_so(exported: Path) -> None:
    model = graphs.to_ir(onnx_files.load(exported))
    result = smooth_linear_inputs(model, BATCHES, 0.5)
    assert result.model is model
    assert [fact.code for fact in result.notes] == ["quantize_ptq.nothing_to_smooth"]


@pytest.mark.parametrize("alpha", [-0.1, 1.1])
def test_alpha_has_limits(alpha: float) -> None:
    with pytest.raises(ValidationError, match="smooth"):
        Quantize(ptq={"smooth": alpha})


def test_the_stage_records_what_was_smoothed(vit: Path, vit_network: Vit, context: Context) -> None:
    context = dataclasses.replace(context, to_onnx=lambda _: vit)
    outcome = Quantize(ptq={"smooth": 0.5}, calibration={"samples": 16}).run(Candidate(SPEC, vit_network), context)
    assert any(render(note).startswith("SmoothQuant (α = 0.5): 5 linear layers") for note in outcome.notes)
    assert sum(fact.code == "quantize_ptq.smooth_not_absorbable" for fact in outcome.skipped) == 4
