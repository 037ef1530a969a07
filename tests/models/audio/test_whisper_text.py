"""Whisper as one module of audio and tokens, its two files with kept keys and values, and the text of a file."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

pytest.importorskip("transformers")
pytest.importorskip("tokenizers")

import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

from compress.backends.eval_mode import eval_mode
from compress.backends.export_onnx import export_onnx
from compress.backends.iterate_split import iterate_split
from compress.core.errors import DataError, ModelError
from compress.core.stage import Candidate, Context
from compress.data.audio.settings import AudioSettings
from compress.data.factory import load_data
from compress.data.interface import Data
from compress.data.settings import DataSettings
from compress.export.stage import Export
from compress.models.audio.whisper_text import WhisperText
from compress.models.factory import build_model
from compress.models.settings import ModelSettings
from compress.tasks.audio.speech_seq2seq import WRITTEN, SpeechSeq2Seq
from compress.tasks.audio.written_pieces import text_of_pieces
from tests.data.audio.files import change, write_manifest
from tests.export.tiny import Target
from tests.models.audio.test_whisper_ctc import SIZES

TASK = SpeechSeq2Seq()
SPECIAL = ("<|startoftranscript|>", "<|notimestamps|>", "<|endoftext|>")


def save_network(folder: Path) -> None:
    """A Whisper with new weights and a byte-level tokenizer without merges."""
    pieces = [*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE(vocab={piece: number for number, piece in enumerate(pieces)}, merges=[]))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer.add_special_tokens(list(SPECIAL))
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{SPECIAL[0]} {SPECIAL[1]} $A {SPECIAL[2]}",
        special_tokens=[(name, number) for number, name in enumerate(SPECIAL)],
    )
    torch.manual_seed(0)
    sizes = SIZES | {
        "vocab_size": len(pieces) + 5,
        "pad_token_id": 2,
        "eos_token_id": 2,
        "decoder_start_token_id": 0,
        "max_target_positions": 32,
    }
    network = transformers.WhisperForConditionalGeneration(transformers.WhisperConfig(**sizes)).eval()
    for values in network.parameters():
        if values.dim() > 1:
            torch.nn.init.normal_(values, std=0.3)
    network.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))


def load(folder: Path, **audio: object) -> Data:
    settings = AudioSettings.model_validate({"typical": 0.4, "most": 1.0, "targets": "tokens", "most_tokens": 16} | audio)
    return load_data(DataSettings(source="audio_manifest:clips.jsonl", audio=settings, tokenizer="net"), base=folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("whisper")
    save_network(made / "net")
    write_manifest(made)
    return made


def build(folder: Path, data: Data, **args: object) -> WhisperText:
    settings = ModelSettings(source="hf:net", args=args)
    module = build_model(settings, TASK.complete_spec(data.spec), seed=0, base=folder, task=TASK).module
    assert isinstance(module, WhisperText)
    return module.eval()


def test_logits_are_those_of_transformers_and_tokens_of_no_text_are_left_out(folder: Path) -> None:
    data = load(folder)
    module = build(folder, data)
    batch = next(iter(data.test.ordered(3)))
    read = batch.inputs["decoder_input_ids"]
    assert read[:, :2].tolist() == [[0, 1]] * 3
    assert (batch.targets["target"][:, 0] == -100).all()
    whole = transformers.WhisperForConditionalGeneration.from_pretrained(folder / "net").eval()
    heard = torch.nn.functional.pad(batch.inputs["audio"], (0, 32_000 - batch.inputs["audio"].shape[1]))
    with torch.no_grad():
        expected = whole(input_features=module.features(heard), decoder_input_ids=read).logits
        found = module(*batch.inputs.values())
    assert found.shape[2] == len(data.spec.classes) == expected.shape[2] - 5
    torch.testing.assert_close(found, expected[..., :-5], atol=1e-4, rtol=1e-4)


def test_data_that_do_not_fit_are_told(folder: Path) -> None:
    with pytest.raises(
        ModelError, match=r"reads clips of at most 2 s with 8000 or 16000 samples per second; the data have up to 3 s"
    ):
        build(folder, load(folder, most=3.0))
    with pytest.raises(ModelError, match=r"args.window of hf:net is 0.5; write seconds from 1 to 2"):
        build(folder, load(folder), window=0.5)
    with pytest.raises(DataError, match=r"wav: its transcript has 8 tokens, more than audio.most_tokens \(6\)"):
        load(folder, most_tokens=6)


def test_the_artifact_writes_the_tokens_of_the_module(folder: Path) -> None:
    data = load(folder)
    spec, module = TASK.complete_spec(data.spec), build(folder, data, window=1.0)
    export_onnx(module, spec, folder / "float.onnx")
    context = Context(
        data=data, task=TASK.for_spec(spec), folder=folder, cache=folder / "cache", device="cpu",
        to_onnx=lambda _: folder / "float.onnx", targets=(Target("host", "onnxruntime"),),
    )  # fmt: skip
    outcome = Export().run(Candidate(spec, module), context)
    artifact = folder / "artifacts" / "host"
    manifest = json.loads((artifact / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["key_value_cache"]["context"] == 32, outcome.notes
    with eval_mode(module):
        outputs, _ = next(iterate_split(module, data.test, context.task, batch_size=3))
    names = [json.loads(line)["audio"] for line in (folder / "clips.jsonl").read_text(encoding="utf-8").splitlines()]
    for row, tokens in enumerate(outputs[WRITTEN].tolist()):
        name = data.test.name(row)
        assert name in names
        done = subprocess.run(
            [sys.executable, "infer.py", str(folder / name)], cwd=artifact, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.rstrip("\n") == text_of_pieces([spec.classes[each] for each in tokens])
    soundfile.write(folder / "long.wav", np.zeros(32_000, np.float32), 16_000)
    done = subprocess.run(
        [sys.executable, "infer.py", "../../long.wav"], cwd=artifact, capture_output=True, text=True, check=False
    )
    assert "it has 2.0 s, the network takes 1 s" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_long_transcript_is_told_with_its_file(tmp_path: Path) -> None:
    save_network(tmp_path / "net")
    change(write_manifest(tmp_path), 4, text="a" * 20)
    with pytest.raises(DataError, match=r"004.wav: its transcript has \d+ tokens, more than audio.most_tokens \(16\)"):
        load(tmp_path)
