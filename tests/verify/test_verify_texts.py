"""Texts and logits of a network on two machines; a shell script stands in for the emulator but in the slow test."""

from __future__ import annotations

import shutil

import pytest
import torch

pytest.importorskip("transformers")

from compress.backends.decoder.greedy_texts import greedy_texts
from compress.core.errors import ConversionError
from compress.verify import agent
from compress.verify.machines import READY, cache_folder
from compress.verify.prompts import Prompts
from compress.verify.verify_texts import _open, verify_texts
from compress.verify.writing_files import find_writing_files
from tests.verify.stand_ins import emulator

PROMPTS = Prompts([[5, 9, 40, 7], [12, 3], [60, 61, 62]], end=-1, most=32, longest=8, origin="three prompts")


@pytest.fixture(params=["language_artifact", "response_artifact"])
def artifact(request):
    """The files of a network that writes texts."""
    return find_writing_files(request.getfixturevalue(request.param)[0] / "model.onnx")


def test_texts_of_the_same_machine_are_equal(artifact):
    result = verify_texts(artifact, PROMPTS, isa="native")
    assert result.top1 == 1.0
    assert result.quantities["max_abs"].value == 0.0
    assert result.quantities["max_abs"].runs == 24
    assert result.quantities["identical_texts"].value == 1.0
    assert result.quantities["first_divergence"].value == 8.0
    assert result.inputs == "three prompts"


def test_the_agent_writes_what_the_package_writes(artifact):
    network = _open(artifact)
    whole = artifact.decoder if artifact.encoder is None else artifact.decoder.parent / "model.onnx"
    prompts = [torch.tensor(prompt) for prompt in PROMPTS.tokens]
    expected = greedy_texts(whole, prompts, end=-1, most=32, max_new_tokens=8)
    assert [[token for token, _ in agent.greedy_text(network, prompt, 8, -1)] for prompt in PROMPTS.tokens] == expected
    end = expected[0][2]
    short = [token for token, _ in agent.greedy_text(network, PROMPTS.tokens[0], 8, end)]
    assert short == expected[0][: expected[0].index(end) + 1]


def test_files_without_past_keys_and_values_give_the_same(language_artifact, response_artifact, tmp_path):
    cached = verify_texts(find_writing_files(language_artifact[0] / "model.onnx"), PROMPTS, isa="native")
    plain = verify_texts(find_writing_files(language_artifact[1].files["onnxruntime"]), PROMPTS, isa="native")
    assert plain.quantities["first_divergence"] == cached.quantities["first_divergence"]
    for name in ("model.onnx", "weights.data"):
        shutil.copy(response_artifact[0] / name, tmp_path / name)
    assert verify_texts(find_writing_files(tmp_path / "model.onnx"), PROMPTS, isa="native").top1 == 1.0


def test_another_text_on_the_tested_machine_is_measured(artifact, bench):
    """The stand-in reads other prompts."""
    python = (bench / "cache/aarch64/root/usr/bin/python3.11").resolve()
    code = (
        "import sys,json; p=sys.argv[1]; d=json.load(open(p)); d['prompts']=[[77,78]]*len(d['prompts']); "
        "json.dump(d,open(p,'w'))"
    )
    emulator(bench, f'shift 5\n{python} -c "{code}" "$6"\nexec {python} "$@"')
    result = verify_texts(artifact, PROMPTS)
    assert result.top1 < 1.0
    assert result.quantities["identical_texts"].value < 1.0
    assert result.quantities["first_divergence"].value < 8.0
    assert result.quantities["max_abs"].value > 0.0


def test_prompts_over_the_context_keep_their_end(artifact):
    long = PROMPTS._replace(tokens=[list(range(5, 200))])
    assert verify_texts(artifact, long, isa="native").quantities["max_abs"].runs == (8 if artifact.is_apart else 1)


def test_a_network_that_does_not_run_on_the_tokens_is_named(artifact):
    with pytest.raises(ConversionError, match="does not run on a prompt of 1 tokens"):
        verify_texts(artifact, PROMPTS._replace(tokens=[[10**6]]), isa="native")


@pytest.mark.slow
@pytest.mark.skipif(not (cache_folder() / READY).is_file(), reason="no emulated machine is set up")
def test_emulated_texts_are_equal(artifact):
    result = verify_texts(artifact, PROMPTS, isa="aarch64")
    assert "cortex-a76" in result.tested
    assert result.quantities["identical_texts"].value == 1.0
    assert result.quantities["max_abs"].value < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("bits", ["int8", "int4"])
def test_integers_for_keys_and_values_are_read(bits, tmp_path):
    from tests.export.decoder_artifacts import build_artifact

    folder, _ = build_artifact(tmp_path, decoder={"key_value": bits})
    result = verify_texts(find_writing_files(folder / "model.onnx"), PROMPTS, isa="native")
    assert result.quantities["identical_texts"].value == 1.0
