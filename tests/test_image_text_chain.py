"""The whole chain on drawn scenes with captions, at toy size: what ships ranks as the report says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from compress.export.run_artifact import is_own_script, run_artifact
from compress.pipeline.pipeline import Pipeline

pytestmark = pytest.mark.timeout(900)
RECIPE = """\
name: tiny
task: {image_text: {zero_shot: "a {}"}}
data:
  source: drawn_captions
  image_size: 32
  samples: 96
  evaluation_limit: 40
  augment: none
  tokenizer: {train: wordpiece, vocabulary: 80}
  lengths: {typical: 12, most: 20}
model: {source: "dual_encoder:tiny", args: {dimensions: 16}}
teacher: {source: "dual_encoder:tiny", args: {dimensions: 32}, train: {epochs: 1, batch_size: 32}}
stages:
  - distill: {epochs: 1, batch_size: 32, losses: [task, affinity]}
  - prune: {granularity: channel, importance: l1, target: {macs: 0.7}, timing_seconds: 0, recover: {epochs: 1, batch_size: 32}}
  - quantize: {calibration: {samples: 16}, accept_if: {keep: quantized}}
  - export: {formats: [onnx]}
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("image_text")
    (folder / "tiny.yaml").write_text(RECIPE)
    return Pipeline.load(folder / "tiny.yaml").run(out=folder / "reports", device="cpu")


def test_every_stage_is_judged_by_retrieval_and_zero_shot_classification(finished):
    record = finished.record
    assert record.metric.name == "recall_at_1"
    for stage in record.stages:
        after = stage.after
        assert {"recall_at_1", "recall_at_10", "image_to_text_recall_at_1", "zero_shot_accuracy"} <= set(after)
        assert after["recall_at_1"].low <= after["recall_at_1"].value <= after["recall_at_1"].high
    names = [stage.name for stage in record.stages]
    assert names == ["distill", "prune", "quantize", "export"]
    macs = [stage.after["macs"].value for stage in record.stages]
    assert macs[1] < 0.75 * macs[0]
    report = (finished.folder / "report.md").read_text(encoding="utf-8")
    assert "Time of each tower" in report
    assert "are synthetic: metrics on them" in report


def test_both_towers_ship_with_the_vectors_of_the_whole_file(finished):
    folder = finished.folder / "artifacts" / "host"
    tables = finished.record.stages[-1].tables
    assert [row["file"] for row in tables["towers"]] == ["model.onnx", "image.onnx", "text.onnx"]
    assert sum(row["share"] for row in tables["towers"][1:]) == pytest.approx(1)
    sizes = {file.name: file.stat().st_size for file in folder.iterdir()}
    assert sizes["model.onnx"] < sizes["image.onnx"] + sizes["image.data"] + sizes["text.onnx"] + sizes["text.data"]
    image = np.random.default_rng(0).normal(size=(2, 3, 32, 32)).astype(np.float32)
    tokens = {"input_ids": np.array([[2, 9, 3], [2, 11, 3]]), "attention_mask": np.ones((2, 3), np.int64)}
    both = onnxruntime.InferenceSession(folder / "model.onnx").run(None, {"image": image, **tokens})
    apart = [
        onnxruntime.InferenceSession(folder / name).run(None, feeds)[0]
        for name, feeds in (("image.onnx", {"image": image}), ("text.onnx", tokens))
    ]
    for whole, one in zip(both, apart, strict=True):
        np.testing.assert_allclose(whole, one, atol=0.05)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["towers"] == {"image": "image.onnx", "text": "text.onnx"}
    assert {"image.onnx", "image.data", "text.onnx", "text.data", "tokenizer.json"} <= set(manifest["files"])


def test_the_script_ranks_texts_for_an_image_and_images_for_a_text(finished, tmp_path):
    folder = finished.folder / "artifacts" / "host"
    files = []
    for number in range(2):
        files.append(tmp_path / f"{number}.png")
        Image.fromarray(np.full((40, 50, 3), 90 * number, np.uint8)).save(files[-1])
    texts = ["a red disc above a blue cross", "a large ring"]

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(folder / "infer.py"), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    by_image = run(files[0], *texts)
    assert by_image.returncode == 0, by_image.stderr
    head, *ranked = by_image.stdout.splitlines()
    assert head == str(files[0])
    cosines = [float(line.split()[0]) for line in ranked]
    assert cosines == sorted(cosines, reverse=True)
    assert {line.split(maxsplit=1)[1] for line in ranked} == set(texts)
    by_text = run(*files, texts[0])
    assert by_text.stdout.splitlines()[0] == texts[0]
    assert len(by_text.stdout.splitlines()) == 3
    assert run(*texts).returncode != 0
    assert "got 0 images and 2 texts" in run(*texts).stderr
    assert is_own_script(folder)
    (told,) = run_artifact(folder, files[1], texts[1])
    assert not told.failed
    assert texts[1] in told.text


def test_a_folder_of_pictures_with_captions_is_read_by_the_same_recipe(tmp_path: Path):
    (tmp_path / "photos").mkdir()
    lines = ["image,caption"]
    for number in range(24):
        colour = np.random.default_rng(number).integers(0, 256, 3)
        Image.fromarray(np.broadcast_to(colour, (36, 36, 3)).astype(np.uint8)).save(tmp_path / "photos" / f"{number}.png")
        lines.append(f"photos/{number}.png,picture number {number}")
    (tmp_path / "pairs.csv").write_text("\n".join(lines))
    recipe = RECIPE.replace('task: {image_text: {zero_shot: "a {}"}}', "task: image_text").replace(
        "source: drawn_captions", 'source: "image_captions:pairs.csv"\n  validation: 0.2'
    )
    head, _, _ = recipe.partition("  - distill:")
    own = head.replace("  samples: 96\n", "").replace("train: {epochs: 1, batch_size: 32}", "train: {epochs: 1, batch_size: 8}")
    (tmp_path / "own.yaml").write_text(own + "  - distill: {epochs: 1, batch_size: 8, losses: [task, affinity]}\n")
    run = Pipeline.load(tmp_path / "own.yaml").run(out=tmp_path / "reports", device="cpu")
    assert run.record.stages[-1].after["recall_at_1"].value is not None
