"""A small detector of two stages through the whole chain, on drawn scenes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from compress.pipeline.pipeline import Pipeline, Run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
DATA = "{source: drawn_boxes, image_size: 64, samples: 80, evaluation_limit: 12, augment: none}"
RECIPE = f"""\
name: tiny
task: detection
data: {DATA}
model: {{source: "detector:small_two_stage", args: {{width: 8, proposals: 16}}}}
teacher:
  source: "detector:small_two_stage"
  args: {{width: 12, proposals: 16}}
  train: {{epochs: 2, batch_size: 8, lr: 0.003}}
stages:
  - distill: {{epochs: 1, batch_size: 8, lr: 0.003, losses: [task, response, {{fgd: {{layers: [backbone.neck8]}}}}]}}
  - prune:
      importance: taylor
      target: {{macs: 0.85}}
      schedule: {{kind: one_shot}}
      protect: ["roi_heads.*", "rpn.*"]
      recover: {{epochs: 1, batch_size: 8}}
  - quantize: {{calibration: {{samples: 16, method: minmax}}, accept_if: {{keep: quantized}}}}
  - export: {{formats: [onnx]}}
  - profile: {{devices: [host], seconds: 0.05}}
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("two_stages")
    (folder / "tiny.yaml").write_text(RECIPE)
    return Pipeline.load(folder / "tiny.yaml").run(out=folder / "reports")


def test_backbone_and_pyramid_are_pruned_and_outputs_keep_their_width(finished: Run) -> None:
    distill, prune, *_ = finished.record.stages
    assert prune.after["macs"].value < 0.9 * distill.after["macs"].value  # type: ignore[operator]
    rows = {row["layer"]: row for row in prune.tables["layers"]}
    shrunk = {name for name, row in rows.items() if row["out_after"] < row["out_before"]}
    assert any(name.startswith("backbone.stage") for name in shrunk)
    for name in ("rpn.head.cls_logits", "rpn.head.bbox_pred", "roi_heads.box_predictor.cls_score"):
        assert rows[name]["out_after"] == rows[name]["out_before"]


def test_the_network_is_int8_and_boxes_are_float(finished: Run) -> None:
    model = onnx.load(str(finished.folder / "artifacts" / "host" / "model.onnx"))
    producers = {name: node for node in model.graph.node for name in node.output}
    regions = [node for node in model.graph.node if node.op_type == "RoiAlign"]
    assert len(regions) == 2
    assert all(producers[node.input[1]].op_type != "DequantizeLinear" for node in regions)
    gemms = [node for node in model.graph.node if node.op_type == "Gemm"]
    assert gemms
    assert all(producers[node.input[1]].op_type == "DequantizeLinear" for node in gemms)
    assert any(fact.code == "quantize.float_boxes" for fact in finished.record.stages[2].notes)


def test_the_exported_file_has_the_map_of_the_torch_network(finished: Run) -> None:
    rows = {row["pair"]: row for row in finished.record.stages[3].tables["parity"]}
    assert rows["torch → ONNX float32"]["max_abs"] < 0.01
    assert rows["torch → ONNX float32"]["map50"] == pytest.approx(rows["torch"]["map50"], abs=1e-3)
    assert len(finished.record.stages[4].tables["post_processing"]) == 3
    report = (finished.folder / "report.md").read_text(encoding="utf-8")
    assert "NMS in the graph" in report


def test_the_shipped_script_draws_boxes(finished: Run, tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 50, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    script = finished.folder / "artifacts" / "host" / "infer.py"
    lowered = script.with_name("lowered.py")
    lowered.write_text(script.read_text().replace("least_score=0.3", "least_score=0.0"))
    command = [sys.executable, str(lowered), str(tmp_path / "a.png"), str(tmp_path / "b.png")]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    corners = np.array([line.split()[-4:] for line in printed.splitlines()], dtype=float)
    assert len(corners) > 0
    assert bool((corners[:, [0, 2]] <= 50).all() and (corners[:, [1, 3]] <= 30).all())
