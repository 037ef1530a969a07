"""A task written outside the package, with data, metric and network of its own, goes through the whole chain from a recipe."""

import shutil
from pathlib import Path

import pytest

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


def test_the_whole_chain_runs(recipe, tmp_path):
    assert len(SOURCE.read_text(encoding="utf-8").splitlines()) < 100
    run = Pipeline.load(recipe, trust_code=True).run(out=tmp_path / "runs", device="cpu")
    record = run.record
    assert record.metric.name == "distance"
    assert [stage.name for stage in record.stages] == ["train", "prune", "distill", "quantize", "export", "profile"]
    assert all(stage.after["distance"].value < 0.7 for stage in record.stages)
    assert record.stages[1].after["macs"].value < 0.75 * record.stages[0].after["macs"].value
    assert "mean distance" in (run.folder / "report.md").read_text(encoding="utf-8")


def test_methods_for_classes_are_refused(recipe):
    with pytest.raises(RecipeError, match="loss 'response' needs logits of classes to compare"):
        Pipeline.load(recipe, overrides=["stages.distill.losses=[response]"], trust_code=True)


def test_it_runs_only_where_it_is_trusted(recipe):
    with pytest.raises(RecipeError, match="--trust-code"):
        Pipeline.load(recipe)
