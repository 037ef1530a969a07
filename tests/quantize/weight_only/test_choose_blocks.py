"""Blocks of a language model are chosen by requests with a cache, and by the tokens that change."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("transformers")

from compress.backends import onnx_files
from compress.backends import onnx_graph as graphs
from compress.config.devices import load_device
from compress.core.stage import Candidate, Context
from compress.profile.generation.serving_mix import MixTimes
from compress.quantize.changed_tokens import TokenChanges
from compress.quantize.schemes import SchemeOptions
from compress.quantize.settings import ServingMix
from compress.quantize.stage import Quantize
from compress.quantize.weight_only import choose_blocks as module
from compress.quantize.weight_only.choose_blocks import BlockLimits, BlockTrial, choose_blocks
from tests.export.decoder_artifacts import TASK, text_data

TOKEN_MS = {"32_0": 3.0, "32_4": 2.0, "128_0": 2.5, "128_4": 1.0}
CHANGED = {"32_0": 1, "32_4": 3, "128_0": 4, "128_4": 9}


@pytest.fixture
def context(tmp_path):
    return Context(data=text_data(), task=TASK, folder=tmp_path, cache=tmp_path, targets=(load_device("host"),))


@pytest.fixture
def trial(language_artifact, monkeypatch):
    def timed(files, prompt, answer, *, threads):
        assert (prompt, answer, threads) == (8, 16, 1)
        assert list(files) == list(TOKEN_MS)
        return {name: MixTimes((5.0,) * 8, (TOKEN_MS[name],) * 8, answer) for name in files}

    def changes(path, texts):
        assert texts
        return TokenChanges(np.array([[CHANGED[Path(path).stem], 100]] * 20, np.float64), (3,))

    monkeypatch.setattr(module, "time_mix", timed)
    monkeypatch.setattr(module, "count_changes", changes)
    path = language_artifact[1].files["onnxruntime"]
    model = graphs.to_ir(onnx_files.load(path))
    signature = language_artifact[1].spec.signature
    return BlockTrial("weight_int4", model, path, signature, load_device("host"), ServingMix(prompt=8, answer=16))


@pytest.mark.parametrize(("limit", "chosen"), [(None, (128, 4)), (0.05, (32, 4)), (0.01, (32, 0))])
def test_the_fastest_request_whose_changed_tokens_are_allowed_is_chosen(trial, context, limit, chosen):
    choice = choose_blocks(trial, SchemeOptions(rounding="k_quant"), BlockLimits(1e9, limit), context)
    assert (choice.options.block, choice.options.accuracy_level, choice.options.rounding) == (*chosen, "k_quant")
    assert [row["changed_tokens"]["value"] for row in choice.rows] == [count / 100 for count in CHANGED.values()]
    assert [row["request_ms"]["value"] for row in choice.rows] == [5 + 15 * ms for ms in TOKEN_MS.values()]
    assert sum(row["chosen"] for row in choice.rows) == 1


@pytest.mark.slow
def test_a_language_model_is_quantized_by_requests(language_artifact, context):
    """The whole stage: schemes with prompts and tokens apart, and changed tokens in the record."""
    candidate = language_artifact[1]
    path = candidate.files["onnxruntime"]
    whole = dataclasses.replace(context, to_onnx=lambda _: path)
    settings = {"keep": "quantized", "perplexity_rise": 1e9, "seconds": 0.02}
    stage = Quantize(serving={"prompt": 8, "answer": 16}, accept_if=settings)
    outcome = stage.run(Candidate(candidate.spec, candidate.module), whole)
    schemes = [row["scheme"] for row in outcome.tables["schemes"]]
    assert schemes == ["float", "dynamic_int8", "weight_int4", "block_int8"]
    assert all(row["token_p50_ms"]["value"] > 0 for row in outcome.tables["schemes"])
    assert outcome.results["changed_tokens"].value is not None
    assert {fact.code for fact in outcome.notes} >= {"quantize.changed_tokens", "quantize.scheme_chosen"}


def test_changed_tokens_fail_the_acceptance_test(context, language_artifact):
    """One limit on tokens, with everything else allowed."""
    candidate = language_artifact[1]
    path = candidate.files["onnxruntime"]
    whole = dataclasses.replace(context, to_onnx=lambda _: path)
    limits = {"perplexity_rise": 1e9, "changed_tokens": 0.0, "seconds": 0.02}
    blocks = {"block": 128, "accuracy_level": 4, "symmetric": True}
    stage = Quantize(scheme="weight_int4", serving={"prompt": 8, "answer": 4}, weight_only=blocks, accept_if=limits)
    outcome = stage.run(Candidate(candidate.spec, candidate.module), whole)
    (fact,) = (fact for fact in outcome.warnings if fact.code == "quantize.acceptance")
    assert fact.values["max_changed_tokens"] == 0.0
    assert outcome.results["changed_tokens"].value == fact.values["changed_tokens"] > 0
    assert "quantize.float_network_ships" in {fact.code for fact in outcome.warnings}
    assert outcome.candidate.files["onnxruntime"].read_bytes() == path.read_bytes()
