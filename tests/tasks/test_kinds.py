"""Every kind of input and of task goes through the whole chain, in Python and by a recipe, and its artifact runs alone."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
import yaml
from torch.utils.data import DataLoader, TensorDataset

from compress import Budget, Data, Distill, Export, Pipeline, Profile, Prune, Quantize, Run, Train
from compress.tasks.choice import TaskChoice
from tests.tasks import kinds
from tests.tasks.kinds import CLASSES, KINDS, Kind

QUICK = {"epochs": 1, "batch_size": 16, "lr": 0.01}
RECOVER = {"epochs": 1, "batch_size": 16}
QUICK_KINDS_IN_PYTHON = ("multilabel_signal",)
"""Kinds whose pipeline in Python is run in every test run; the examples of the README run the others by recipe."""
STAGES = ["train", "prune", "distill", "quantize", "export", "profile"]


def loader(kind: Kind, seed: int) -> DataLoader:
    arrays = kinds.arrays(kind, seed)
    tensors = [torch.from_numpy(arrays[name]) for name in (*kind.inputs, "target")]
    return DataLoader(TensorDataset(*tensors), batch_size=16)


def in_python(kind: Kind, out: Path) -> Run:
    stages = [
        Train(**QUICK),
        Prune(target={"macs": 0.6}, recover=RECOVER, timing_seconds=0),
        Distill(teacher="parent", **QUICK),
        Quantize(accept_if={"keep": "quantized", "seconds": 0.05}),
        Export(),
        Profile(seconds=0.05),
    ]
    names = [f"output {index}" for index in range(CLASSES)]
    signature = None if [*kind.inputs] == ["input"] else [*kind.inputs]
    task = TaskChoice.read(kind.task).make()
    loaders = (loader(kind, seed) for seed in range(3))
    data = Data.from_loaders(*loaders, classes=names, task=task, signature=signature)
    torch.manual_seed(0)
    pipeline = Pipeline("kind", model=kinds.network(data.spec), data=data, stages=stages, task=task, budget=Budget(size_mb=10))
    return pipeline.run(out=out, device="cpu")


def by_recipe(kind: Kind, out: Path) -> Run:
    shutil.copy(kinds.__file__, out)
    (out / "arrays").mkdir()
    for seed, split in enumerate(("train", "validation", "test")):
        np.savez(out / "arrays" / f"{split}.npz", **kinds.arrays(kind, seed))
    recipe = {
        "name": "kind",
        "task": kind.task,
        "data": {"source": "npz:arrays"},
        "model": {"source": "python:kinds.py:network"},
        "stages": [
            {"train": QUICK},
            {"prune": {"target": {"macs": 0.6}, "recover": RECOVER, "timing_seconds": 0}},
            {"distill": {"teacher": "parent", **QUICK}},
            {"quantize": {"accept_if": {"keep": "quantized", "seconds": 0.05}}},
            "export",
            {"profile": {"seconds": 0.05}},
        ],
        "budget": {"size_mb": 10},
    }
    (out / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    return Pipeline.load(out / "recipe.yaml", trust_code=True).run(out=out, device="cpu")


def check_run(result: Run, kind: Kind) -> None:
    record = result.record
    assert record.metric.name == kind.metric
    assert result.verdict is not None
    assert [stage.name for stage in record.stages] == STAGES
    trained, pruned = record.stages[0].after, record.stages[1].after
    assert pruned["macs"].value < 0.75 * trained["macs"].value
    for stage in record.stages:
        assert stage.after[kind.metric].value is not None
        assert stage.after["latency_ms"].value > 0
    assert record.stages[-1].benchmark_rows
    report = (result.folder / "report.md").read_text(encoding="utf-8")
    assert record.metric.label in report
    if kind.metric != "accuracy":
        assert not re.search(r"\baccuracy\b", report.partition("## How to repeat the run")[0])


def check_artifact(result: Run, kind: Kind) -> None:
    """Its file has the inputs and outputs of the network, and its script gives the outputs of the file."""
    folder = next(result.folder.rglob("manifest.json")).parent
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"))
    assert [entry.name for entry in session.get_inputs()] == [*kind.inputs]
    arrays = kinds.arrays(kind, 3)
    feeds = {name: arrays[name][:1] for name in kind.inputs}
    outputs = session.run(None, feeds)[0]
    assert outputs.shape == (1, CLASSES)
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    if manifest["run"].endswith(".npz"):
        np.savez(folder / "sample.npz", **feeds)
        sample = "sample.npz"
    else:
        np.save(folder / "sample.npy", feeds["input"][0])
        sample = "sample.npy"
    command = [sys.executable, "infer.py", sample]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    shown = [line for line in done.stdout.splitlines() if "output" in line]
    expected = CLASSES if kind.metric != "macro_f1" else int((outputs > 0).sum())
    assert len(shown) == expected, done.stdout
    if kind.metric == "rmse":
        assert [float(line.rpartition(" ")[2]) for line in shown] == pytest.approx(outputs[0].tolist(), rel=1e-4)


@pytest.mark.parametrize(
    "name", [name if name in QUICK_KINDS_IN_PYTHON else pytest.param(name, marks=pytest.mark.slow) for name in KINDS]
)
def test_the_whole_chain_runs_in_python(name, tmp_path):
    result = in_python(KINDS[name], tmp_path)
    check_run(result, KINDS[name])
    check_artifact(result, KINDS[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_the_whole_chain_runs_by_recipe(name, tmp_path):
    result = by_recipe(KINDS[name], tmp_path)
    check_run(result, KINDS[name])
    check_artifact(result, KINDS[name])
