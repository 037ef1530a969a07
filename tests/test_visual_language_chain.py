"""The whole chain on drawn questions, at toy size: the three stages of LLaVA-KD, and a script that answers as the file does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from PIL import Image
from tokenizers import Tokenizer

from compress.core.network_spec import NetworkSpec
from compress.export.run_artifact import is_own_script, read_spec, run_artifact
from compress.pipeline.pipeline import Pipeline

pytestmark = [pytest.mark.timeout(900), pytest.mark.slow]
RECIPE = """\
name: tiny
task: {visual_language: {generated: {prompts: 24, max_new_tokens: 6}}}
data:
  source: drawn_questions
  image_size: 32
  samples: 96
  evaluation_limit: 40
  augment: none
  tokenizer: {train: bpe, vocabulary: 340}
  lengths: {typical: 12, most: 24}
teacher:
  source: "visual_language:small"
  args: {vision: {width: 4}, decoder: {source: "decoder:tiny", args: {layers: 1, width: 32, heads: 2}}}
  train: {epochs: 1, batch_size: 32}
model:
  source: "visual_language:small"
  args:
    vision: {width: 4, weights: teacher}
    projector: linear
    decoder: {source: "decoder:tiny", args: {layers: 1, width: 16, heads: 1}}
stages:
  - distill: {epochs: 1, batch_size: 32, parts: [projector], losses: [task, mdist, rdist]}
  - train: {epochs: 1, batch_size: 32, parts: [projector, decoder]}
  - distill: {epochs: 1, batch_size: 32, losses: [task, {mdist: {response: 1, visual: 0.5, text: 0.1}}, rdist]}
  - quantize: {calibration: {samples: 16}, accept_if: {keep: quantized}}
  - export: {formats: [onnx]}
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("visual_language")
    (folder / "tiny.yaml").write_text(RECIPE)
    return Pipeline.load(folder / "tiny.yaml").run(out=folder / "reports", device="cpu")


def test_every_stage_is_judged_by_its_answers(finished):
    assert finished.record.metric.name == "exact_match"
    assert [stage.name for stage in finished.record.stages] == ["distill", "train", "distill", "quantize", "export"]
    for stage in finished.record.stages:
        assert {"exact_match", "perplexity", "next_token_accuracy"} <= set(stage.after)
    assert "starts from the vision encoder of the teacher" in (finished.folder / "report.md").read_text(encoding="utf-8")


def test_answers_are_written_and_compared_with_those_of_the_data(finished):
    for stage in finished.record.stages:
        assert {"cer", "bleu", "cider_d", "generated_tokens"} <= set(stage.results)
    lines = (finished.folder / "04-quantize" / "generated.jsonl").read_text().splitlines()
    assert len(lines) == 1 + 9  # validation has 15 % of 96 samples, at most 40
    assert {"prompt", "reference", "text", "tokens"} == set(json.loads(lines[1]))


def test_the_script_answers_as_the_file_does(finished, tmp_path):
    folder = finished.folder / "artifacts" / "host"
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    question = "what colour is the disc?"
    command = [sys.executable, str(folder / "infer.py"), str(tmp_path / "image.png"), question]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    end = tokenizer.token_to_id(read_spec(folder / "model.onnx").image_text.text.end_token)
    ids, written = tokenizer.encode(f"{question}\n", add_special_tokens=False).ids, []
    image = images_as_read(tmp_path / "image.png", read_spec(folder / "model.onnx"))
    while len(ids) + len(written) < 24:
        row = np.array([[*ids, *written]])
        feeds = {"image": image, "input_ids": row, "attention_mask": np.ones_like(row)}
        token = int(session.run(None, feeds)[0][0, -1].argmax())
        if token == end:
            break
        written.append(token)
    assert done.stdout == f"{tokenizer.decode(written)}\n"
    assert is_own_script(folder)
    (told,) = run_artifact(folder, tmp_path / "image.png", question)
    assert not told.failed
    assert told.text.strip() == done.stdout.strip()
    alone = subprocess.run(command[:3], capture_output=True, text=True, check=False)
    assert alone.returncode == 1
    assert "give an image and a question in quotes; got 1 arguments" in alone.stderr


def test_vision_and_decoder_ship_apart_and_are_compared_and_timed(finished):
    folder, tables = finished.folder / "artifacts" / "host", finished.record.stages[-1].tables
    assert [row["file"] for row in tables["towers"]] == ["model.onnx", "vision.onnx", "language.onnx", "language.onnx"]
    assert sum(row["share"] or 0.0 for row in tables["towers"]) == pytest.approx(1)
    assert any("vision, and decoder with past keys and values" in row["pair"] for row in tables["parity"])
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["visual_language"]["visual_tokens"] == 16
    assert manifest["key_value_cache"]["bytes_per_token"] == 4 * 2 * 16
    assert "vision.onnx" in (folder / "infer.py").read_text()


def images_as_read(path: Path, spec: NetworkSpec) -> np.ndarray:
    """The image as the network takes it, (1, 3, 32, 32)."""
    own = spec.image_text.image
    pixels = np.asarray(Image.open(path), dtype=np.float32).transpose(2, 0, 1) / 255
    mean, std = (np.array(each, np.float32)[:, None, None] for each in (own.mean, own.std))
    return ((pixels - mean) / std)[None]
