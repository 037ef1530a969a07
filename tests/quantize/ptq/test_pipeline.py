"""Passes and rounding methods are rows of the registry: a new one is used by its name."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from pydantic import ValidationError

from compress.backends import onnx_graph as graphs
from compress.core.fact import Fact
from compress.core.registry import Entry, names, temporary
from compress.quantize.ptq.pipeline import PassInputs, PassResult, run_ptq
from compress.quantize.ptq.round_weights import LayerRounding
from compress.quantize.settings import PTQSettings
from tests.quantize.ptq.chain import X, answers


def round_towards_zero(layer: LayerRounding) -> np.ndarray:
    q: np.ndarray = np.trunc(layer.w / layer.s[..., None]).astype(np.int8)
    return q


def note_setting(model: ir.Model, inputs: PassInputs) -> PassResult:
    return PassResult(model, notes=(Fact.of("test.pass_ran", alpha=inputs.setting),))


def test_a_rounding_method_is_one_row(chain: ir.Model) -> None:
    with temporary(Entry("rounding", "towards_zero", f"{__name__}:round_towards_zero", "this test")):
        result = run_ptq(chain, [X], PTQSettings(weights={"bits": 4, "rounding": "towards_zero"}), bits=4, per_channel=True)
    for name, weight in result.prepared.weights.items():
        layer = result.prepared.layers[name]
        w = layer.to_matrix(np.asarray(graphs.constant(chain.graph.initializers[name])))
        np.testing.assert_array_equal(weight.q, np.trunc(w / weight.s[..., None]))
    assert [note.code for note in result.notes] == ["quantize_ptq.rounding_error"]


def test_a_pass_is_one_row_and_reads_its_setting(chain: ir.Model) -> None:
    with temporary(Entry("ptq_pass", "noted", f"{__name__}:note_setting", "this test")):
        result = run_ptq(chain, [X], PTQSettings(noted=0.25), bits=8, per_channel=True)
        assert run_ptq(chain, [X], PTQSettings(noted=False), bits=8, per_channel=True).notes == ()
    assert result.notes == (Fact.of("test.pass_ran", alpha=0.25),)
    with pytest.raises(ValidationError, match="noted\n  Extra inputs are not permitted"):
        PTQSettings(noted=0.25)


def test_the_float_function_survives_all_passes(skewed_chain: ir.Model) -> None:
    settings = PTQSettings(equalize=True, smooth=0.5)
    assert {"equalize", "smooth"} <= set(names("ptq_pass"))
    result = run_ptq(skewed_chain, [X], settings, bits=8, per_channel=True)
    exact = answers(skewed_chain)
    np.testing.assert_allclose(answers(result.rescaled), exact, atol=1e-3 * np.abs(exact).max())
    assert result.prepared.weights == {}
