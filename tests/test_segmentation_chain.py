"""The whole chain on drawn scenes with masks, at toy size: what ships gives the mask that the report speaks of."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image

from compress.backends.export_onnx import export_onnx
from compress.core.network_spec import NetworkSpec
from compress.core.signature import AxisSizes, Signature, TensorSpec
from compress.data.factory import load_data
from compress.data.settings import DataSettings
from compress.models.segmenters import SmallSegmenter
from compress.pipeline.pipeline import Pipeline
from compress.tasks.segmentation import Segmentation

pytestmark = pytest.mark.timeout(900)  # 15 s of one CPU core, many times as long where others use it
DATA = "{source: shapes_masks, image_size: 24, samples: 62, evaluation_limit: 12}"
RECIPE = f"""\
name: tiny
task: segmentation
data: {DATA}
model: {{source: "segmenter:small", args: {{width: 8, depth: 2}}}}
teacher: {{source: "segmenter:small", args: {{width: 16, depth: 2}}, train: {{epochs: 1, batch_size: 16}}}}
stages:
  - distill:
      epochs: 1
      batch_size: 16
      control: true
      losses: [channel_wise, {{channel_wise: {{layers: auto}}}}, response, task]
  - prune: {{importance: taylor, target: {{macs: 0.7}}, recover: {{epochs: 1, batch_size: 16}}}}
  - quantize: {{calibration: {{samples: 16}}, accept_if: {{keep: quantized}}}}
  - export: {{formats: [onnx]}}
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("segmentation")
    (folder / "tiny.yaml").write_text(RECIPE)
    return Pipeline.load(folder / "tiny.yaml").run(out=folder / "reports")


@pytest.mark.slow
def test_every_stage_is_judged_by_the_mean_iou(finished):
    assert finished.record.metric.name == "mean_iou"
    for stage in finished.record.stages:
        assert "accuracy" not in stage.after
        assert 0 <= stage.after["mean_iou"].value <= 1
        assert stage.after["mean_iou"].low <= stage.after["mean_iou"].value <= stage.after["mean_iou"].high
    assert "control_mean_iou" in finished.record.stages[0].results
    report = (finished.folder / "report.md").read_text(encoding="utf-8")
    assert "test mean IoU" in report
    assert "are synthetic: metrics on them" in report


@pytest.mark.slow
def test_the_quantized_file_gives_the_classes_of_the_pixels(finished):
    artifact = finished.folder / "artifacts" / "host"
    session = onnxruntime.InferenceSession(str(artifact / "model.onnx"))
    data = load_data(DataSettings(source="shapes_masks", image_size=24, samples=62), base=Path())
    batch = next(iter(data.test.ordered(2)))
    logits = session.run(None, {"input": batch.input.numpy()})[0]
    assert logits.shape == (2, 6, 24, 24)
    assert json.loads((artifact / "labels.json").read_text())[0] == "background"


@pytest.mark.slow
def test_the_shipped_script_writes_the_mask_of_an_image(finished, tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 50, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    script = finished.folder / "artifacts" / "host" / "infer.py"
    subprocess.run([sys.executable, str(script), str(tmp_path / "a.png")], check=True, capture_output=True)
    with Image.open(tmp_path / "a.mask.png") as mask:
        assert mask.size == (50, 30)


def test_a_network_with_free_height_and_width_is_exported_and_segments_images_of_several_sizes(tmp_path):
    task = Segmentation()
    image = TensorSpec(name="input", shape=("batch", 3, "height", "width"))
    sizes = {"height": AxisSizes(16, 32, 64), "width": AxisSizes(16, 40, 64)}
    signature = Signature(inputs=(image,), outputs=task.outputs((image,), ("a", "b", "c")), sizes=sizes)
    network = SmallSegmenter(3, width=4, depth=2).eval()
    export_onnx(network, NetworkSpec(signature=signature, classes=("a", "b", "c")), tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    for height, width in ((32, 40), (16, 64), (48, 20)):
        x = torch.randn(2, 3, height, width)
        with torch.no_grad():
            expected = network(x).numpy()
        np.testing.assert_allclose(session.run(None, {"input": x.numpy()})[0], expected, atol=1e-4)
