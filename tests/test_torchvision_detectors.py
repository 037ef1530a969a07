"""torchvision's detectors, small, through the whole chain."""

from __future__ import annotations

from pathlib import Path

import pytest

from compress.core.errors import ModelError
from compress.pipeline.pipeline import Pipeline

RECIPE = """\
name: tiny
task: detection
data: {{source: drawn_boxes, image_size: 64, samples: 62, evaluation_limit: 6, augment: none}}
model: {{source: "torchvision:{name}", args: {args}}}
teacher: {{source: "torchvision:{name}", args: {args}, train: {{epochs: 1, batch_size: 8}}}}
stages:
  - distill: {{epochs: 1, batch_size: 8, losses: [task, response]}}
  - prune: {{importance: l1, target: {{macs: 0.8}}, schedule: {{kind: one_shot}}, recover: {{epochs: 1, batch_size: 8}}}}
  - quantize: {{calibration: {{samples: 16, method: minmax}}, accept_if: {{keep: quantized}}}}
  - export: {{formats: [onnx]}}
  - profile: {{devices: [host], seconds: 0.05}}
"""
PYRAMID = "{backbone: resnet18, fpn_channels: 64}"


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("fcos_resnet50_fpn", PYRAMID),
        ("retinanet_resnet50_fpn", PYRAMID),
        ("ssdlite320_mobilenet_v3_large", "{}"),
        (
            "fasterrcnn_resnet50_fpn",
            "{backbone: resnet18, fpn_channels: 64, anchor_scale: 0.1, representation: 128, proposals: 24}",
        ),
    ],
)
def test_the_whole_chain(name: str, args: str, tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(RECIPE.format(name=name, args=args))
    finished = Pipeline.load(tmp_path / "tiny.yaml").run(out=tmp_path / "reports")
    prune, quantize, export, profile = finished.record.stages[1:]
    assert prune.after["macs"].value < 0.9 * finished.record.stages[0].after["macs"].value  # type: ignore[operator]
    assert quantize.after["map50"].how == "measured"
    rows = {row["pair"]: row for row in export.tables["parity"]}
    assert rows["torch → ONNX float32"]["max_abs"] < 0.05
    assert len(profile.tables["post_processing"]) == 3
    report = (finished.folder / "report.md").read_text(encoding="utf-8")
    assert "NMS in the graph" in report
    assert {path.name for path in (finished.folder / "artifacts" / "host").glob("*.onnx")} == {"model.onnx", "model_nms.onnx"}


@pytest.mark.parametrize("source", ["torchvision", "detector"])
def test_masks_are_refused_with_one_sentence(source: str, tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(
        RECIPE.format(name="maskrcnn_resnet50_fpn", args="{}").replace("torchvision:", f"{source}:")
    )
    with pytest.raises(ModelError, match="its masks have no metric, loss or output") as error:
        Pipeline.load(tmp_path / "tiny.yaml").run(out=tmp_path / "reports")
    assert "\n" not in str(error.value)
