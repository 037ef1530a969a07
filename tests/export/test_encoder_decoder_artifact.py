"""The artifact of an encoder-decoder: its parts, its script, `compress generate`, and the responses of the torch network."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from typer.testing import CliRunner

pytest.importorskip("transformers")

from compress.backends.decoder.greedy_texts import greedy_texts
from compress.cli.commands import app
from compress.core.errors import ConversionError, DataError
from compress.core.stage import Candidate
from compress.export.run_artifact import is_own_script
from compress.export.stage import Export
from compress.export.text_generator import open_generator
from tests.export.encoder_decoder_artifacts import LONGEST, MOST, PROMPTS


def expected_response(folder, module, prompt):
    """Tokens without the end, and their text."""
    generator = open_generator(folder)
    tokens = torch.tensor(generator.prompt_tokens(prompt))
    (found,) = greedy_texts(module, [tokens], end=generator.end, most=MOST, max_new_tokens=LONGEST)
    kept = [token for token in found if token != generator.end]
    return kept, generator.tokenizer.decode(kept)


@pytest.fixture
def artifact(response_artifact):
    """Folder of the artifact, outcome of the stage, and the network."""
    return response_artifact[:3]


def test_the_artifact_has_both_parts_which_were_compared(artifact):
    folder, outcome, _ = artifact
    manifest = json.loads((folder / "manifest.json").read_text())
    files = {"encoder": "encoder.onnx", "decoder": "decoder.onnx", "weights": "weights.data"}
    assert manifest["encoder_decoder"] == files
    assert manifest["key_value_cache"] == {
        "bytes_per_token": 2 * 2 * 32 * 4, "bytes_per_prompt_token": 2 * 2 * 32 * 4, "context": MOST, "logits": "all",
    }  # fmt: skip
    assert {*files.values(), "model.onnx", "tokenizer.json"} <= manifest["files"].keys()
    (row,) = [row for row in outcome.tables["parity"] if "past keys" in row["pair"]]
    assert row["top1"] == 1.0
    assert row["max_abs"] < 1e-3
    codes = [note.code for note in outcome.notes]
    assert "export.encoder_apart" in codes
    assert "export.response_cache" in codes


def test_the_weights_of_all_files_are_stored_once(artifact):
    folder, _, module = artifact
    numbers = sum(values.numel() for values in module.parameters())
    table = module.network.lm_head.weight.numel()  # the graph has the tied table as it is and transposed at most
    assert 3.9 * numbers <= (folder / "weights.data").stat().st_size <= 4 * (numbers + table) + 20000


def test_a_decoder_without_a_cache_reads_the_response_again(response_artifact, tmp_path):
    folder, outcome, module, context = response_artifact
    stage = Export(decoder={"cache": False, "key_value": "float32"})
    found = stage.run(Candidate(outcome.candidate.spec, module), replace(context, folder=tmp_path))
    (note,) = [note for note in found.notes if "response_cache" in note.code]
    assert note.code == "export.no_response_cache"
    assert is_own_script(tmp_path / "artifacts" / "host")
    printed = [
        subprocess.run(
            [sys.executable, "infer.py", PROMPTS[1], "9"], cwd=each, capture_output=True, text=True, check=True
        ).stdout
        for each in (folder, tmp_path / "artifacts" / "host")
    ]
    assert printed[0] == printed[1] != ""
    rows = [row for row in found.tables["parity"] if "apart" in row["pair"]]
    assert rows[0]["max_abs"] < 1e-3


def test_integers_for_keys_and_values_are_not_made_and_it_is_said(response_artifact, tmp_path):
    _, outcome, module, context = response_artifact
    stage = Export(decoder={"key_value": "int8"})
    found = stage.run(Candidate(outcome.candidate.spec, module), replace(context, folder=tmp_path))
    assert "export.float_response_cache" in [note.code for note in found.notes]


def test_the_script_and_the_command_write_what_the_network_writes(artifact):
    folder, _, module = artifact
    assert is_own_script(folder)
    for prompt in PROMPTS[:3]:
        tokens, text = expected_response(folder, module, prompt)
        command = [sys.executable, "infer.py", prompt, str(LONGEST)]
        printed = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout
        assert printed.removesuffix("\n") == text
        result = CliRunner().invoke(app, ["generate", str(folder), prompt, "--max-new-tokens", str(LONGEST), "--json"])
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)["tokens"] == tokens
    assert len((folder / "infer.py").read_text().splitlines()) < 80


def test_prompts_that_do_not_fit_are_refused(artifact):
    generator = open_generator(artifact[0])
    with pytest.raises(DataError, match="the network reads up to 32; give a shorter text"):
        generator.prompt_tokens("stone " * 40)
    with pytest.raises(DataError, match="needs a chat template"):
        generator.prompt_tokens("stone", system="be brief")


def test_a_damaged_part_is_named(artifact, tmp_path):
    folder = shutil.copytree(artifact[0], tmp_path / "copy")
    (folder / "decoder.onnx").write_bytes(b"no file")
    with pytest.raises(ConversionError, match=r"decoder\.onnx"):
        open_generator(folder)
