"""The whole chain on drawn lines of text, at toy size: what ships reads as the record says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from compress.data.factory import load_data
from compress.data.settings import DataSettings
from compress.pipeline.pipeline import Pipeline
from compress.tasks.ctc_decoding import greedy_texts

pytestmark = pytest.mark.timeout(900)
RECIPE = """\
name: tiny
task: image_to_text
data: {source: drawn_lines, image_size: [32, 96], channels: 1, samples: 96, evaluation_limit: 30, augment: none}
model: {source: "crnn:small", args: {width: 8}}
teacher: {source: "crnn:small", args: {width: 12}, train: {epochs: 1, batch_size: 32}}
stages:
  - distill: {epochs: 1, batch_size: 32, losses: [task, {ctc_posteriors: {blank_weight: 0.1}}]}
  - prune: {granularity: channel, importance: l1, target: {macs: 0.7}, timing_seconds: 0, recover: {epochs: 1, batch_size: 32}}
  - quantize: {calibration: {samples: 16}, accept_if: {keep: quantized}}
  - export
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("lines")
    (folder / "tiny.yaml").write_text(RECIPE)
    return Pipeline.load(folder / "tiny.yaml").run(out=folder / "reports", device="cpu")


def test_stages_are_judged_by_characters_and_the_file_is_int8(finished):
    record = finished.record
    assert record.metric.name == "cer"
    for stage in record.stages:
        assert {"cer", "exact_match"} <= set(stage.after)
    sizes = {stage.name: stage.after["size_bytes"].value for stage in record.stages}
    assert sizes["quantize"] < 0.6 * sizes["prune"] < 0.6 * sizes["distill"]


def test_the_script_writes_the_text_of_the_file(finished, tmp_path):
    folder = finished.folder / "artifacts" / "host"
    data = load_data(
        DataSettings(source="drawn_lines", image_size=[32, 96], channels=1, samples=96, augment="none"), base=Path()
    )
    logits = onnxruntime.InferenceSession(folder / "model.onnx").run(
        None, {"input": next(iter(data.test.ordered(1))).input.numpy()}
    )
    expected = greedy_texts(logits[0], data.spec.classes)[0]
    pixels = data.test.images._reader.read(0)[0].numpy()
    Image.fromarray(pixels).save(tmp_path / "line.png")
    command = [sys.executable, str(folder / "infer.py"), str(tmp_path / "line.png")]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert told.rpartition("  (")[0] == expected
    (tmp_path / "no.png").write_bytes(b"no")
    failed = subprocess.run([*command[:2], str(tmp_path / "no.png")], capture_output=True, text=True, check=False)
    assert failed.returncode != 0
    assert "cannot read" in failed.stderr
    assert np.isfinite(logits[0]).all()
