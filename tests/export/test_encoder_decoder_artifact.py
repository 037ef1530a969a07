"""The artifact of an encoder-decoder: its parts, its script, `compress generate`, and the responses of the torch network."""

import json
import shutil
import subprocess
import sys

import pytest
import torch
from typer.testing import CliRunner

pytest.importorskip("transformers")

from compress.backends.decoder.greedy_texts import greedy_texts
from compress.backends.export_onnx import export_onnx
from compress.cli.commands import app
from compress.core.errors import ConversionError, DataError
from compress.core.stage import Candidate, Context
from compress.data.factory import load_data
from compress.data.interface import Data
from compress.data.settings import DataSettings
from compress.export.run_artifact import is_own_script
from compress.export.stage import Export
from compress.export.text_generator import open_generator
from compress.models.factory import build_model
from compress.models.settings import ModelSettings
from compress.tasks.text.sequence_to_sequence import SequenceToSequence
from tests.export.tiny import Target

TASK = SequenceToSequence()
PROMPTS = [f"a {color} {thing} number {number}" for number, (color, thing) in enumerate(
    (color, thing) for color in ("red", "green", "blue", "grey") for thing in ("stone", "cloud", "house", "river", "boat")
)]  # fmt: skip
LONGEST = 20


def text_data(folder) -> Data:
    rows = [{"prompt": prompt, "response": prompt[::-1]} for prompt in PROMPTS]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    columns = {"prompt": "prompt", "response": "response", "targets": "responses"}
    settings = DataSettings(
        source="jsonl:rows.jsonl", columns=columns, lengths={"typical": 12, "most": 32},
        tokenizer={"train": "bpe", "vocabulary": 300, "lowercase": False},
    )  # fmt: skip
    return load_data(settings, base=folder)


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    """Folder of the artifact, outcome of the stage, and the network."""
    folder = tmp_path_factory.mktemp("artifact")
    data = text_data(folder)
    spec = TASK.complete_spec(data.spec)
    choice = ModelSettings(source="encoder_decoder:tiny", args={"layers": 2, "width": 32, "heads": 2})
    module = build_model(choice, spec, seed=0, base=None, task=TASK).module.eval()
    generator = torch.Generator().manual_seed(0)
    for values in module.parameters():
        if values.dim() > 1:
            torch.nn.init.normal_(values, std=0.3, generator=generator)
    path = folder / "float.onnx"
    export_onnx(module, spec, path)
    context = Context(
        data=data, task=TASK.for_spec(spec), folder=folder, cache=folder / "cache", device="cpu",
        to_onnx=lambda _: path, targets=(Target("host", "onnxruntime"),),
    )  # fmt: skip
    outcome = Export().run(Candidate(spec, module), context)
    return folder / "artifacts" / "host", outcome, module


def expected_response(folder, module, prompt):
    """Tokens without the end, and their text."""
    generator = open_generator(folder)
    tokens = torch.tensor(generator.prompt_tokens(prompt))
    (found,) = greedy_texts(module, [tokens], end=generator.end, most=32, max_new_tokens=LONGEST)
    kept = [token for token in found if token != generator.end]
    return kept, generator.tokenizer.decode(kept)


def test_the_artifact_has_both_parts_which_were_compared(artifact):
    folder, outcome, _ = artifact
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["encoder_decoder"] == {"encoder": "encoder.onnx", "decoder": "decoder.onnx"}
    assert {"encoder.onnx", "decoder.onnx", "model.onnx", "tokenizer.json"} <= manifest["files"].keys()
    (row,) = [row for row in outcome.tables["parity"] if "apart" in row["pair"]]
    assert row["top1"] == 1.0
    assert row["max_abs"] < 1e-3
    assert [note.code for note in outcome.notes if "encoder" in note.code] == ["export.encoder_apart"]


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
