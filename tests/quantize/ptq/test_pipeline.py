"""Passes and rounding methods are rows of the registry: a new one is used by its name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn import functional

from compress.backends import onnx_files, onnx_session
from compress.backends import onnx_graph as graphs
from compress.backends.export_onnx import export_onnx
from compress.core.fact import Fact
from compress.core.registry import Entry, names, temporary
from compress.quantize.ptq.pipeline import PassInputs, PassResult, run_ptq
from compress.quantize.ptq.round_weights import LayerRounding
from compress.quantize.settings import PTQSettings
from tests.export.tiny import SPEC
from tests.quantize.ptq.chain import X, answers


def round_towards_zero(layer: LayerRounding) -> np.ndarray:
    q: np.ndarray = np.trunc(layer.w / layer.s[..., None]).astype(np.int8)
    return q


def note_setting(model: ir.Model, inputs: PassInputs) -> PassResult:
    return PassResult(model, notes=(Fact.of("test.pass_ran", alpha=inputs.setting),))


def test_a_rounding_method_is_one_row(chain: ir.Model) -> None:
    with temporary(Entry("rounding", "towards_zero", f"{__name__}:round_towards_zero", "this test")):
        result = run_ptq(
            chain, [{"input": X}], PTQSettings(weights={"bits": 4, "rounding": "towards_zero"}), bits=4, per_channel=True
        )
    for name, weight in result.prepared.weights.items():
        layer = result.prepared.layers[name]
        w = layer.to_matrix(np.asarray(graphs.constant(chain.graph.initializers[name])))
        np.testing.assert_array_equal(weight.q, np.trunc(w / weight.s[..., None]))
    assert [note.code for note in result.notes] == ["quantize_ptq.rounding_error"]


def test_a_pass_is_one_row_and_reads_its_setting(chain: ir.Model) -> None:
    with temporary(Entry("ptq_pass", "noted", f"{__name__}:note_setting", "this test")):
        result = run_ptq(chain, [{"input": X}], PTQSettings(noted=0.25), bits=8, per_channel=True)
        assert run_ptq(chain, [{"input": X}], PTQSettings(noted=False), bits=8, per_channel=True).notes == ()
    assert result.notes == (Fact.of("test.pass_ran", alpha=0.25),)
    with pytest.raises(ValidationError, match="noted\n  Extra inputs are not permitted"):
        PTQSettings(noted=0.25)


def test_the_float_function_survives_all_passes(skewed_chain: ir.Model) -> None:
    settings = PTQSettings(equalize=True, smooth=0.5)
    assert {"equalize", "smooth"} <= set(names("ptq_pass"))
    result = run_ptq(skewed_chain, [{"input": X}], settings, bits=8, per_channel=True)
    exact = answers(skewed_chain)
    np.testing.assert_allclose(answers(result.rescaled), exact, atol=1e-3 * np.abs(exact).max())
    assert result.prepared.weights == {}


class Shared(nn.Module):
    """Layers of unlike ranges; `join` uses some of them twice, or they have equal biases, which a file stores once."""

    def __init__(self, join: str) -> None:
        super().__init__()
        self.join = join
        self.first, self.second, self.third = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1)
        self.head = nn.Linear(8, 4)
        with torch.no_grad():
            for layer in (self.first, self.second, self.third):
                layer.weight.mul_(torch.logspace(-1, 1, 8)[torch.randperm(8)].view(-1, 1, 1, 1))
                layer.bias.fill_(0.7) if join == "equal biases" else layer.bias.uniform_(-1, 1)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.first(x).relu()
        match self.join:
            case "flipped":
                hidden = self.second(hidden).relu() + self.second(self.first(x.flip(-1)).relu()).relu()
            case "twice":
                hidden = self.second(self.second(hidden).relu()).relu()
            case "functional":
                hidden = functional.conv2d(self.second(hidden).relu(), self.second.weight, self.third.bias).relu()
            case _:
                hidden = self.third(self.second(hidden).relu()).relu()
        return self.head(hidden.mean((2, 3)))


@pytest.mark.parametrize("join", ["flipped", "twice", "functional", "equal biases", "chain"])
def test_passes_keep_the_function_of_layers_that_share_weights_or_biases(join: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net, path = Shared(join).eval(), tmp_path / "model.onnx"
    export_onnx(net, SPEC, path)
    inputs = np.random.default_rng(0).normal(size=(8, *SPEC.shape)).astype(np.float32)
    result = run_ptq(
        graphs.to_ir(onnx_files.load(path)),
        [{"input": inputs}],
        PTQSettings(equalize=True, smooth=0.5),
        bits=8,
        per_channel=True,
    )
    outputs = onnx_session.run(onnx_session.create_session(result.rescaled), inputs)
    np.testing.assert_allclose(outputs, net(torch.from_numpy(inputs)).detach().numpy(), rtol=1e-3, atol=1e-4)
    equalized = any(note.code == "quantize_ptq.pairs_equalized" for note in result.notes)
    assert equalized == (join in ("equal biases", "chain"))
