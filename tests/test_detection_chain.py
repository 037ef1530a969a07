"""The whole chain on drawn scenes with boxes, at toy size."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image

from compress.data.factory import load_data
from compress.data.settings import DataSettings
from compress.pipeline.pipeline import Pipeline, Run
from compress.tasks.boxes import decode_boxes

pytestmark = pytest.mark.timeout(1200)
"""It takes 25 s of a core, and ended after 300 s on a busy machine."""
DATA = DataSettings(source="drawn_boxes", image_size=32, samples=62, evaluation_limit=8, augment="none")
RECIPE = """\
name: tiny
task: detection
data: {source: drawn_boxes, image_size: 32, samples: 62, evaluation_limit: 8, augment: light, views: 1}
model: {source: "detector:small", args: {width: 8}}
teacher: {source: "detector:small", args: {width: 16}, train: {epochs: 1, batch_size: 16}}
stages:
  - distill:
      epochs: 1
      batch_size: 16
      control: true
      losses: [task, response, {fgd: {layers: [neck8]}}]
  - prune: {importance: taylor, target: {macs: 0.7}, recover: {epochs: 1, batch_size: 16}}
  - quantize: {calibration: {samples: 16}, accept_if: {keep: quantized}}
  - export: {formats: [onnx]}
  - profile: {devices: [host], seconds: 0.1}
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("detection")
    (folder / "tiny.yaml").write_text(RECIPE)
    return Pipeline.load(folder / "tiny.yaml").run(out=folder / "reports")


def test_every_stage_is_judged_by_map50(finished: Run) -> None:
    assert finished.record.metric.name == "map50"
    for stage in finished.record.stages:
        assert "accuracy" not in stage.after
        quantity = stage.after["map50"]
        assert quantity.value is not None
        assert 0 <= quantity.value <= 1
    distill = finished.record.stages[0]
    assert {"control_map50", "map50_over_control"} <= set(distill.results)
    report = (finished.folder / "report.md").read_text(encoding="utf-8")
    assert "mAP50 drop" in report
    assert "are synthetic: metrics on them" in report


def test_backbone_and_neck_are_pruned_and_heads_keep_their_outputs(finished: Run) -> None:
    rows = {row["layer"]: row for row in finished.record.stages[1].tables["layers"]}
    assert {"head8.logits", "head8.offsets", "head16.logits", "head16.offsets"} == {
        fact.subject for fact in finished.record.stages[1].skipped if fact.code == "prune.output_layer"
    }
    assert rows["head8.offsets"]["out_after"] == 8
    shrunk = {name.partition(".")[0] for name, row in rows.items() if row["out_after"] < row["out_before"]}
    assert any(name.startswith("stage") for name in shrunk)
    assert any(name.startswith(("lateral", "neck", "head")) for name in shrunk)


def test_the_int8_file_carries_its_anchors(finished: Run) -> None:
    session = onnxruntime.InferenceSession(str(finished.folder / "artifacts" / "host" / "model.onnx"))
    batch = next(iter(load_data(DATA, base=Path()).test.ordered(3)))
    logits, offsets, anchors = session.run(["class_logits", "boxes", "anchors"], {"input": batch.input.numpy()})
    assert (logits.shape, offsets.shape, anchors.shape) == ((3, 40, 6), (3, 40, 4), (3, 40, 4))
    assert np.array_equal(anchors[0], anchors[2])
    boxes = decode_boxes(torch.from_numpy(offsets), torch.from_numpy(anchors))
    assert bool(((boxes[..., 2:] - boxes[..., :2]) > 0).all())


def test_the_shipped_script_draws_boxes(finished: Run, tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 50, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    script = finished.folder / "artifacts" / "host" / "infer.py"
    lowered = script.with_name("lowered.py")
    lowered.write_text(script.read_text().replace("least_score=0.3", "least_score=0.0"))
    command = [sys.executable, str(lowered), str(tmp_path / "a.png"), str(tmp_path / "b.png")]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    with Image.open(tmp_path / "b.png") as drawn:
        assert drawn.size == (50, 30)
    corners = np.array([line.split()[-4:] for line in printed.splitlines()], dtype=float)
    assert len(corners) > 0
    assert corners.min() >= 0
    assert bool((corners[:, [0, 2]] <= 50).all() and (corners[:, [1, 3]] <= 30).all())
