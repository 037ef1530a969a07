"""Block-wise reconstruction: never worse than nearest on the block, better than layer by layer on the answers."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from compress.backends import onnx_graph as graphs
from compress.backends.export_onnx import export_onnx
from compress.core.errors import ConversionError
from compress.core.sentences import render
from compress.quantize.ptq import block_reconstruction as blockwise
from compress.quantize.ptq import brecq as brecq_module
from compress.quantize.ptq.brecq import BlockProblem, brecq
from compress.quantize.ptq.partition_blocks import partition_blocks
from compress.quantize.ptq.quantized_weight import int_range
from compress.quantize.ptq.round_weights import PreparedModel, RoundingOptions, round_weights
from compress.quantize.ptq.weighted_layers import read_weight, weighted_layers
from compress.quantize.settings import PTQSettings
from tests.export.tiny import SPEC, split

OPTIONS = RoundingOptions(bits=4, per_channel=True, search=True, rounding="nearest", iterations=200)


def branch(weights: list[Tensor], x: Tensor) -> Tensor:
    """A residual block of two matrix products."""
    return x + torch.relu(x @ weights[0]) @ weights[1]


@pytest.fixture(scope="module")
def given() -> tuple[list[Tensor], Tensor, Tensor]:
    """Weights, inputs that are not quite what the float block reads, and its outputs."""
    draw = torch.Generator().manual_seed(0)
    weights = [torch.randn(12, 24, generator=draw), torch.randn(24, 12, generator=draw)]
    x = torch.randn(200, 12, generator=draw) @ torch.randn(12, 12, generator=draw)
    return weights, x + 0.05 * torch.randn(x.shape, generator=draw), branch(weights, x)


def steps_of(weights: list[Tensor], bits: int) -> list[Tensor]:
    return [w.abs().amax(0, keepdim=True) / int_range(bits)[1] for w in weights]


@pytest.mark.parametrize("bits", [3, 4])
def test_a_block_is_never_worse_than_nearest_and_much_better(given, bits: int) -> None:
    weights, x, z = given
    s = steps_of(weights, bits)
    f = torch.linspace(0.1, 1.9, 12)
    q, least, plain = brecq(BlockProblem(branch, weights, s, x, z, bits, f), iterations=150)
    nearest = [(w / step).round().clamp(*int_range(bits)) * step for w, step in zip(weights, s, strict=True)]
    wanted, found = (
        float((f.double() * (branch(values, x) - z).double() ** 2).sum(1).mean())
        for values in (nearest, [one * step for one, step in zip(q, s, strict=True)])
    )
    assert plain == pytest.approx(wanted, rel=1e-4)
    assert least == pytest.approx(found, rel=1e-4)
    assert found < 0.8 * wanted
    for one, w, step in zip(q, weights, s, strict=True):
        inside = (w / step > int_range(bits)[0]) & (w / step < int_range(bits)[1])
        assert ((one - w / step).abs()[inside] <= 1).all()


def test_learned_integers_that_are_worse_are_not_taken(given, monkeypatch: pytest.MonkeyPatch) -> None:
    weights, x, z = given
    s = steps_of(weights, 4)
    monkeypatch.setattr(brecq_module, "_learn", lambda *_: [torch.zeros_like(w) for w in weights])
    q, least, plain = brecq(BlockProblem(branch, weights, s, x, z, 4), iterations=5)
    assert least == plain
    for one, w, step in zip(q, weights, s, strict=True):
        torch.testing.assert_close(one, (w / step).round().clamp(-8, 7).to(torch.int8))


def test_the_outputs_that_the_loss_minds_come_out_better(given) -> None:
    weights, x, z = given
    s = steps_of(weights, 3)
    errors = []
    for f in (torch.ones(12), torch.tensor([20.0] * 2 + [0.05] * 10)):
        problem = BlockProblem(branch, weights, s, x, z, 3, f)
        q, _, _ = brecq(problem, iterations=600)
        errors.append(replace(problem, fisher=torch.tensor([1.0] * 2 + [0.0] * 10)).error(q))
    assert errors[1] < 0.9 * errors[0]


@pytest.fixture(scope="module")
def model(exported: Path) -> ir.Model:
    return graphs.to_ir(graphs.load(exported))


def test_residual_blocks_stay_whole_and_chains_are_cut(model: ir.Model) -> None:
    blocks = partition_blocks(model, weighted_layers(model))
    assert [[layer.name for layer in block.layers] for block in blocks] == [
        ["stem.0"], ["depthwise.0", "point.0"], ["wide"], ["head"],
    ]  # fmt: skip
    assert blocks[0].start == "input"
    assert blocks[-1].stop == "logits"
    assert all(before.stop == after.start for before, after in pairwise(blocks))
    assert [node.name for block in blocks for node in block.nodes] == [node.name for node in model.graph]


def test_an_inverted_bottleneck_without_a_skip_is_one_block(tmp_path: Path) -> None:
    class Bottleneck(nn.Module):
        def __init__(self, width: int, stride: int) -> None:
            super().__init__()
            hidden = nn.Conv2d(width, 2 * width, 1), nn.ReLU(), nn.Conv2d(2 * width, 2 * width, 3, stride, 1, groups=2 * width)
            self.conv, self.skips = nn.Sequential(*hidden, nn.ReLU(), nn.Conv2d(2 * width, width, 1)), stride == 1

        def forward(self, x: Tensor) -> Tensor:
            return x + self.conv(x) if self.skips else self.conv(x)

    layers = nn.Sequential(nn.Conv2d(3, 4, 3), Bottleneck(4, 2), Bottleneck(4, 1), nn.AdaptiveAvgPool2d(1))
    export_onnx(nn.Sequential(layers, nn.Flatten(), nn.Linear(4, 4)).eval(), SPEC, tmp_path / "model.onnx")
    model = graphs.to_ir(graphs.load(tmp_path / "model.onnx"))
    assert [str(block) for block in partition_blocks(model, weighted_layers(model))] == ["0.0", "0.1.conv", "0.2.conv", "2"]


def test_f_is_the_fisher_information_of_the_answers(model: ir.Model) -> None:
    """At the logits it is E[(p_k − [c = k])²], which with c drawn from p is p_k (1 − p_k)."""
    z = torch.randn(4000, 4, generator=torch.Generator().manual_seed(0))
    found = blockwise.fisher_diagonal(model, "logits", z)
    p = torch.softmax(z, 1)
    wanted = (p * (1 - p)).mean(0)
    torch.testing.assert_close(found, wanted / wanted.mean(), rtol=0.05, atol=0.0)


def rounded(model: ir.Model, rounding: str, x: np.ndarray, bits: int) -> tuple[ir.Model, PreparedModel]:
    batches = [x[place : place + 16] for place in range(0, len(x), 16)]
    if rounding == "brecq":
        found = blockwise.round_by_blocks(model, batches, replace(OPTIONS, bits=bits, rounding=rounding))
    else:
        found = round_weights(model, batches, replace(OPTIONS, bits=bits, rounding=rounding))
    values = {
        name: found.layers[name].from_matrix(grid.dequantize(), read_weight(model, name))
        for name, grid in found.weights.items()
    }
    return graphs.with_initializers(model, values), found


def divergence(model: ir.Model, made: ir.Model, x: np.ndarray) -> float:
    """KL of the rounded network's answers from the float one's, in nats."""
    p, q = (
        torch.log_softmax(torch.from_numpy(graphs.run(graphs.create_session(one), x)).double() / 8, 1) for one in (model, made)
    )
    return float((p.exp() * (p - q)).sum(1).mean())


def test_four_bit_answers_are_much_nearer_to_the_float_ones(model: ir.Model) -> None:
    x = split(128, 3).inputs.numpy()
    made = {name: rounded(model, name, x, 4) for name in ("nearest", "brecq")}
    lost = {name: divergence(model, one, x) for name, (one, _) in made.items()}
    assert lost["brecq"] < 0.5 * lost["nearest"]
    done = made["brecq"][1]
    assert set(done.weights) == {layer.weight for layer in weighted_layers(model)}
    assert done.skipped == ()
    assert (done.notes[0].code, done.notes[0].subject) == ("quantize_ptq.block_error", "brecq")
    assert "median over 4 blocks, learned from 128 samples or more" in render(done.notes[0])
    again = rounded(model, "brecq", x, 4)[1]
    for name, grid in done.weights.items():
        np.testing.assert_array_equal(again.weights[name].q, grid.q)


def test_what_cannot_be_differentiated_is_rounded_by_adaround_and_says_so(
    model: ir.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = blockwise.to_torch

    def unable(model: ir.Model, layers, **options):
        if "wide" in layers or not layers:
            msg = "operator Acosh (acosh_1) has no counterpart with gradients here"
            raise ConversionError(msg)
        return real(model, layers, **options)

    monkeypatch.setattr(blockwise, "to_torch", unable)
    _, found = rounded(model, "brecq", split(32, 3).inputs.numpy(), 4)
    assert set(found.weights) == {layer.weight for layer in weighted_layers(model)}
    skipped = [(skip.code, skip.subject) for skip in found.skipped]
    assert ("quantize_ptq.block_not_reconstructed", "wide") in skipped
    assert skipped.count(("quantize_ptq.fisher_not_available", "stem.0")) == 1
    assert ("quantize_ptq.rounding_error", "adaround") in [(note.code, note.subject) for note in found.notes]


def test_samples_are_as_many_as_fit(model: ir.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blockwise, "HELD_BYTES", 1)
    _, found = rounded(model, "brecq", split(64, 3).inputs.numpy(), 4)
    assert found.notes[0].values["samples"] == 16


def test_corrections_that_have_nothing_to_do_are_refused() -> None:
    with pytest.raises(ValidationError, match="rounding: brecq minimises the error of outputs"):
        PTQSettings(weights={"rounding": "brecq"}, bias_correction="analytic")
