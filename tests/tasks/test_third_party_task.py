"""A task written outside the package, with data, metric and network of its own, goes through the whole chain from a recipe."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

import compress
from compress import Pipeline
from compress.core.errors import RecipeError

SOURCE = Path(__file__).with_name("keypoints.py")
RECIPE = """\
name: keypoints
task: "python:keypoints.py:Keypoints"
data: {source: "python:keypoints.py:data"}
model: {source: "python:keypoints.py:network"}
stages:
  - train: {epochs: 3, batch_size: 16, lr: 0.01}
  - prune: {target: {macs: 0.6}, recover: {epochs: 1, batch_size: 16}, timing_seconds: 0}
  - distill: {teacher: parent, epochs: 1, batch_size: 16}
  - quantize: {accept_if: {keep: quantized, seconds: 0.05}}
  - export
  - profile: {seconds: 0.05}
"""


@pytest.fixture
def recipe(tmp_path):
    shutil.copy(SOURCE, tmp_path)
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE, encoding="utf-8")
    return path


@pytest.mark.slow
def test_the_whole_chain_runs(recipe, tmp_path):
    assert len(SOURCE.read_text(encoding="utf-8").splitlines()) < 100
    run = Pipeline.load(recipe, trust_code=True).run(out=tmp_path / "runs", device="cpu")
    record = run.record
    assert record.metric.name == "distance"
    assert [stage.name for stage in record.stages] == ["train", "prune", "distill", "quantize", "export", "profile"]
    assert all(stage.after["distance"].value < 0.7 for stage in record.stages)
    assert record.stages[1].after["macs"].value < 0.75 * record.stages[0].after["macs"].value
    report = (run.folder / "report.md").read_text(encoding="utf-8")
    assert "mean distance" in report
    assert "outputs square, cross" in report
    assert not re.search(r"\baccuracy\b", report.partition("## How to repeat the run")[0])
    check_script(next(run.folder.glob("artifacts/host")))
    module = compress.load(run.folder, base=tmp_path, trust_code=True)
    assert module(torch.zeros(1, 1, 16, 16)).shape == (1, 2, 2)


def check_script(folder):
    """The script of the artifact gives what the file gives."""
    image = np.random.default_rng(0).random((1, 16, 16)).astype(np.float32)
    np.save(folder / "image.npy", image)
    done = subprocess.run([sys.executable, "infer.py", "image.npy"], cwd=folder, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("points: float32 (1, 2, 2)")
    (expected,) = onnxruntime.InferenceSession(str(folder / "model.onnx")).run(None, {"input": image[None]})
    with np.load(folder / "outputs.npz") as outputs:
        np.testing.assert_allclose(outputs["points"], expected, atol=1e-5)


def test_an_installed_package_names_it_as_an_entry_point(recipe, tmp_path):
    metadata = tmp_path / "keypoints-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: keypoints\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[compress.methods]\ntask.keypoints = keypoints:Keypoints\n")
    recipe.write_text(RECIPE.replace('"python:keypoints.py:Keypoints"', "keypoints"), encoding="utf-8")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from compress.cli.commands import main; main()"
    commands = {"package keypoints 1.0": ["methods", "task"], "keypoints": ["validate", str(recipe), "--trust-code"]}
    for shown, arguments in commands.items():
        done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert shown in done.stdout


def test_methods_for_classes_are_refused(recipe):
    with pytest.raises(RecipeError, match="loss 'response' needs logits of classes, for which a softmax is defined"):
        Pipeline.load(recipe, overrides=["stages.distill.losses=[response]"], trust_code=True)


def test_it_runs_only_where_it_is_trusted(recipe):
    with pytest.raises(RecipeError, match="--trust-code"):
        Pipeline.load(recipe)
