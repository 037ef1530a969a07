"""Changed tokens, against a plain loop over both networks without a cache."""

import numpy as np
import pytest

pytest.importorskip("transformers")

from compress.backends import onnx_files
from compress.backends import onnx_graph as graphs
from compress.backends.onnxruntime_runner import OnnxRuntimeRunner
from compress.core.sentences import render
from compress.core.stage import Context
from compress.quantize.changed_tokens import PROMPTS, TOKENS, TokenChanges, count_changes, float_texts
from compress.quantize.schemes import SchemeOptions, build_models
from tests.export.decoder_artifacts import TASK, text_data


@pytest.fixture
def context(tmp_path):
    return Context(data=text_data(), task=TASK, folder=tmp_path, cache=tmp_path)


def likeliest(path, tokens):
    with OnnxRuntimeRunner(path) as runner:
        ids = np.array([tokens])
        return runner.run({"input_ids": ids, "attention_mask": np.ones_like(ids)})[0][0].argmax(-1).tolist()


def test_texts_are_those_of_the_float_network_and_the_float_network_changes_none(context, language_artifact):
    path = language_artifact[1].files["onnxruntime"]
    texts = float_texts(path, context)
    assert 1 < len(texts) <= PROMPTS
    assert all(0 < len(tokens) <= TOKENS for _, tokens in texts)
    prompt, tokens = texts[0]
    assert likeliest(path, [*prompt, *tokens[:-1]])[len(prompt) - 1 :] == tokens
    changes = count_changes(path, texts)
    assert changes.counts[:, 0].sum() == 0
    assert changes.firsts == ()
    assert changes.quantities()["changed_tokens"].value == 0
    assert changes.quantities()["first_changed_token"].value is None
    assert render(changes.fact()).startswith("none of ")


def test_changes_are_counted_after_the_tokens_of_the_float_network(context, language_artifact, tmp_path):
    path = language_artifact[1].files["onnxruntime"]
    options = SchemeOptions(block=128, symmetric=True)
    model = build_models("weight_int4", graphs.to_ir(onnx_files.load(path)), ("onnxruntime",), options).models["onnxruntime"]
    onnx_files.save(model, tmp_path / "int4.onnx")
    texts = float_texts(path, context)
    changes = count_changes(tmp_path / "int4.onnx", texts)
    expected = []
    for prompt, tokens in texts:
        own = likeliest(tmp_path / "int4.onnx", [*prompt, *tokens[:-1]])[len(prompt) - 1 :]
        expected.append([mine != token for mine, token in zip(own, tokens, strict=True)])
    assert changes.counts.tolist() == [[sum(row), len(row)] for row in expected]
    assert changes.counts[:, 0].sum() > 0
    assert changes.firsts == tuple(row.index(True) for row in expected if any(row))
    share = changes.quantities()["changed_tokens"].value
    assert share == pytest.approx(changes.counts[:, 0].sum() / changes.counts[:, 1].sum())


def test_the_sentence_gives_counts_and_the_first_change():
    sentence = render(TokenChanges(np.array([[2.0, 10.0], [0.0, 10.0], [1.0, 5.0]]), (3, 4)).fact())
    assert sentence.startswith(
        "3 of 25 greedy tokens after 3 validation prompts change (12.0%); in the 2 texts that change, 3.5"
    )


def test_responses_of_an_encoder_decoder_are_compared_after_whole_prompts(response_artifact, tmp_path):
    _, outcome, _, context = response_artifact
    path = outcome.candidate.files["onnxruntime"]
    texts = float_texts(path, context)
    batch = next(context.data.validation.ordered(1))
    assert texts[0][0] == batch.inputs["input_ids"][0].tolist()
    assert count_changes(path, texts).firsts == ()
    options = SchemeOptions(block=128, symmetric=True)
    model = build_models("weight_int4", graphs.to_ir(onnx_files.load(path)), ("onnxruntime",), options).models["onnxruntime"]
    onnx_files.save(model, tmp_path / "int4.onnx")
    changes = count_changes(tmp_path / "int4.onnx", texts)
    assert changes.counts[:, 1].tolist() == [len(tokens) for _, tokens in texts if tokens]
    assert 0 < changes.counts[:, 0].sum() <= changes.counts[:, 1].sum()
