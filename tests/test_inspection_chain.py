"""Inspection and anomaly detection through the whole chain on drawn parts, at toy size: what ships has its threshold."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from compress.data.factory import load_data
from compress.data.settings import DataSettings
from compress.pipeline.pipeline import Pipeline, Run
from compress.tasks.operating_point import threshold_for_new

pytestmark = pytest.mark.timeout(900)  # 20 s of one CPU core, many times as long where others use it
SETTINGS = {"source": "drawn_parts", "image_size": 24, "channels": 1, "samples": 96, "validation": 0.5, "test": 0.44}
STAGES = """\
  - prune:
      importance: IMPORTANCE
      target: {macs: 0.7}
      timing_seconds: 0
      schedule: {kind: one_shot}
      recover: {epochs: 1, batch_size: 16, LOSSES}
DISTILL  - quantize: {calibration: {samples: 16}, accept_if: {keep: quantized, seconds: 0.05}}
  - export: {formats: [onnx]}
  - profile: {devices: [host], seconds: 0.05}
budget: {BUDGET}
"""
INSPECTION = f"""\
name: inspection
task: inspection
data: {json.dumps(SETTINGS)}
model: {{source: "torchvision:mobilenet_v3_small", args: {{width_mult: 0.5}}, small_stem: true}}
teacher: {{source: "torchvision:shufflenet_v2_x0_5", small_stem: true, train: {{epochs: 1, batch_size: 16}}}}
stages:
  - distill: {{epochs: 2, batch_size: 16, control: true}}
""" + STAGES.replace("IMPORTANCE", "taylor").replace(", LOSSES", "").replace("DISTILL", "").replace(
    "BUDGET", "recall_at_fpr_drop: 0.9, false_alarm_rate: 0.9"
)
ANOMALY = f"""\
name: anomaly
task: anomaly
data: {json.dumps(SETTINGS)}
model: {{source: "anomaly:small", args: {{width: 8, reference_width: 8, students: 1, strides: [4, 8]}}}}
stages:
  - train: {{epochs: 2, batch_size: 16, lr: 0.01}}
""" + STAGES.replace("IMPORTANCE", "magnitude").replace("LOSSES", "teacher: none").replace("BUDGET", "auroc: 0.1").replace(
    "DISTILL", "  - distill: {teacher: parent, epochs: 1, batch_size: 16}\n"
)
RECIPES = {"inspection": INSPECTION, "anomaly": ANOMALY}


@pytest.fixture(scope="module", params=[pytest.param("inspection", marks=pytest.mark.slow), "anomaly"])
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "tiny.yaml").write_text(RECIPES[request.param])
    return Pipeline.load(folder / "tiny.yaml").run(out=folder / "reports")


def test_every_stage_has_the_metrics_of_defects(finished: Run) -> None:
    record = finished.record
    assert record.metric.name == {"inspection": "recall_at_fpr", "anomaly": "auroc"}[record.name]
    assert finished.verdict is not None
    for stage in record.stages:
        for name in ("recall_at_fpr", "false_alarm_rate", "auroc"):
            quantity = stage.after[name]
            assert 0 <= quantity.value <= 1
        assert stage.after["recall_at_fpr"].low <= stage.after["recall_at_fpr"].value <= stage.after["recall_at_fpr"].high
    for name in ("alarm_threshold", "recall_scratch", "recall_stain", "recall_break"):
        assert record.stages[0].results[name].value is not None
    report = (finished.folder / "report.md").read_text(encoding="utf-8")
    assert record.metric.label in report


def test_pruning_makes_the_network_smaller(finished: Run) -> None:
    pruned = next(stage for stage in finished.record.stages if stage.name == "prune")
    assert pruned.after["macs"].value < 0.8 * pruned.before["macs"].value


def test_the_shipped_threshold_is_that_of_the_shipped_file_on_good_parts(finished: Run) -> None:
    folder = next(finished.folder.rglob("threshold.json")).parent
    point = json.loads((folder / "threshold.json").read_text(encoding="utf-8"))
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert "threshold.json" in manifest["files"]
    validation = load_data(DataSettings(**SETTINGS), base=Path()).validation
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"))
    scores: list[float] = []
    for batch in validation.ordered(64):
        good = batch.target.numpy() == 0
        outputs = dict(
            zip([each.name for each in session.get_outputs()], session.run(None, {"input": batch.input.numpy()}), strict=True)
        )
        z = outputs.get("logits")
        values = outputs["score"] if z is None else np.log(np.exp(z[:, 1:].astype(np.float64)).sum(1)) - z[:, 0]
        scores += values[good].tolist()
    assert point["good_parts"] == len(scores)
    # Scores of int8 kernels depend on the batch in the last digits.
    assert point["threshold"] == pytest.approx(threshold_for_new(np.array(scores), 0.05), rel=0.02, abs=1e-3)


def test_the_shipped_script_gives_a_verdict(finished: Run, tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40), dtype=np.uint8)).save(tmp_path / "part.png")
    script = next(finished.folder.rglob("threshold.json")).parent / "infer.py"
    done = subprocess.run([sys.executable, str(script), "part.png"], check=True, capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.split()[0] in ("good", "defect")
    assert "threshold" in done.stdout
