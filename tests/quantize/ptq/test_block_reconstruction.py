"""Block-wise reconstruction of a network: outputs closer to the float ones than with nearest rounding."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import torch
from pydantic import ValidationError

from compress.backends import onnx_files, onnx_session
from compress.backends import onnx_graph as graphs
from compress.backends.onnx_session import create_session
from compress.core.errors import ConversionError
from compress.core.sentences import render
from compress.quantize.ptq import block_reconstruction as blockwise
from compress.quantize.ptq.round_weights import PreparedModel, RoundingOptions, round_weights
from compress.quantize.ptq.weighted_layers import read_weight, weighted_layers
from compress.quantize.settings import PTQSettings
from tests.export.tiny import split

OPTIONS = RoundingOptions(bits=4, per_channel=True, search=True, rounding="nearest", iterations=200)


@pytest.fixture(scope="module")
def model(exported: Path) -> ir.Model:
    return graphs.to_ir(onnx_files.load(exported))


def test_f_is_the_fisher_information_of_the_answers(model: ir.Model) -> None:
    """At the logits it is E[(p_k − [c = k])²], which with c drawn from p is p_k (1 − p_k)."""
    z = torch.randn(4000, 4, generator=torch.Generator().manual_seed(0))
    result = blockwise.fisher_diagonal(model, "logits", z)
    p = torch.softmax(z, 1)
    expected = (p * (1 - p)).mean(0)
    torch.testing.assert_close(result, expected / expected.mean(), rtol=0.05, atol=0.0)


def rounded(model: ir.Model, rounding: str, x: np.ndarray, bits: int) -> tuple[ir.Model, PreparedModel]:
    batches = [{"input": x[place : place + 16]} for place in range(0, len(x), 16)]
    if rounding == "brecq":
        result = blockwise.round_by_blocks(model, batches, replace(OPTIONS, bits=bits, rounding=rounding))
    else:
        result = round_weights(model, batches, replace(OPTIONS, bits=bits, rounding=rounding))
    values = {
        name: result.layers[name].from_matrix(grid.dequantize(), read_weight(model, name))
        for name, grid in result.weights.items()
    }
    return graphs.with_initializers(model, values), result


def divergence(model: ir.Model, quantized: ir.Model, x: np.ndarray) -> float:
    """KL of the rounded network's answers from the float one's, in nats."""
    p, q = (
        torch.log_softmax(torch.from_numpy(onnx_session.run(create_session(variant), x)).double() / 8, 1)
        for variant in (model, quantized)
    )
    return float((p.exp() * (p - q)).sum(1).mean())


def test_four_bit_answers_are_much_nearer_to_the_float_ones(model: ir.Model) -> None:
    x = split(128, 3).inputs.numpy()
    quantized = {name: rounded(model, name, x, 4) for name in ("nearest", "brecq")}
    lost = {name: divergence(model, variant, x) for name, (variant, _) in quantized.items()}
    assert lost["brecq"] < 0.5 * lost["nearest"]
    done = quantized["brecq"][1]
    assert set(done.weights) == {layer.weight for layer in weighted_layers(model)}
    assert done.skipped == ()
    assert (done.notes[0].code, done.notes[0].subject) == ("quantize_ptq.block_error", "brecq")
    assert "median over 4 blocks, on 128 samples or more" in render(done.notes[0])
    again = rounded(model, "brecq", x, 4)[1]
    for name, grid in done.weights.items():
        np.testing.assert_array_equal(again.weights[name].q, grid.q)


def test_what_cannot_be_differentiated_is_rounded_by_adaround_and_says_so(
    model: ir.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = blockwise.to_torch

    def unable(model: ir.Model, layers, **options):
        if "wide" in layers or not layers:
            msg = "operator Acosh (acosh_1) has no torch equivalent here"
            raise ConversionError(msg)
        return real(model, layers, **options)

    monkeypatch.setattr(blockwise, "to_torch", unable)
    _, result = rounded(model, "brecq", split(32, 3).inputs.numpy(), 4)
    assert set(result.weights) == {layer.weight for layer in weighted_layers(model)}
    skipped = [(skip.code, skip.subject) for skip in result.skipped]
    assert ("quantize_ptq.block_not_reconstructed", "wide") in skipped
    assert skipped.count(("quantize_ptq.fisher_not_available", "stem.0")) == 1
    assert ("quantize_ptq.rounding_error", "adaround") in [(note.code, note.subject) for note in result.notes]


def test_samples_are_as_many_as_fit(model: ir.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blockwise, "HELD_BYTES", 1)
    _, result = rounded(model, "brecq", split(64, 3).inputs.numpy(), 4)
    assert result.notes[0].values["samples"] == 16


def test_corrections_that_have_nothing_to_do_are_refused() -> None:
    with pytest.raises(ValidationError, match="rounding: brecq already minimises the error of the outputs"):
        PTQSettings(weights={"rounding": "brecq"}, bias_correction="analytic")
