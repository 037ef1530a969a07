"""Every kind of input and of task goes through the whole chain: train, prune, distill, quantize, export, profile, report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from compress import Budget, Data, Distill, Export, Pipeline, Profile, Prune, Quantize, Run, Train
from compress.tasks.base import Task
from compress.tasks.regression import Regression

QUICK = {"epochs": 1, "batch_size": 16, "lr": 0.01}
SAMPLES, CLASSES = 48, 3


def body(dimensions: int, channels: int) -> nn.Sequential:
    """Two convolutions and the mean over all places, (N, 16)."""
    kind = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[dimensions]
    norm = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}[dimensions]
    pool = {1: nn.AdaptiveAvgPool1d, 2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d}[dimensions]
    return nn.Sequential(
        kind(channels, 16, 3, padding=1), norm(16), nn.ReLU(), kind(16, 16, 3, padding=1), nn.ReLU(), pool(1), nn.Flatten()
    )


class Two(nn.Module):
    """An image and numbers about it."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.image, self.numbers = body(2, 3), nn.Sequential(nn.Linear(5, 16), nn.ReLU())
        self.head = nn.Linear(32, outputs)

    def forward(self, image: Tensor, numbers: Tensor) -> Tensor:
        return self.head(torch.cat([self.image(image), self.numbers(numbers)], dim=1))


def one(dimensions: int, channels: int, outputs: int = CLASSES) -> nn.Module:
    return nn.Sequential(body(dimensions, channels), nn.Linear(16, outputs))


class Kind(NamedTuple):
    """What goes through the chain."""

    network: Callable[[], nn.Module]
    inputs: dict[str, tuple[int, ...]]
    targets: Callable[[], Tensor]
    task: str | Task
    metric: str


def classes() -> Tensor:
    return torch.arange(SAMPLES) % CLASSES


def angles() -> Tensor:
    return 360 * torch.rand(SAMPLES, CLASSES)


KINDS = {
    "grey": Kind(lambda: one(2, 1), {"input": (1, 12, 20)}, classes, "classification", "accuracy"),
    "four_channels": Kind(lambda: one(2, 4), {"input": (4, 16, 12)}, classes, "classification", "accuracy"),
    "signal": Kind(lambda: one(1, 2), {"signal": (2, 40)}, classes, "classification", "accuracy"),
    "volume": Kind(lambda: one(3, 1), {"scan": (1, 6, 8, 7)}, classes, "classification", "accuracy"),
    "two_inputs": Kind(lambda: Two(CLASSES), {"image": (3, 12, 16), "numbers": (5,)}, classes, "classification", "accuracy"),
    "regression": Kind(lambda: Two(CLASSES), {"image": (3, 12, 16), "numbers": (5,)}, angles, "regression", "rmse"),
    "angle": Kind(lambda: one(1, 1), {"signal": (1, 32)}, angles, Regression("huber", period=360.0), "rmse"),
}


def data(kind: Kind) -> Data:
    torch.manual_seed(0)
    loaders = []
    for _ in range(3):
        tensors = [torch.randn(SAMPLES, *shape) for shape in kind.inputs.values()]
        loaders.append(DataLoader(TensorDataset(*tensors, kind.targets()), batch_size=16))
    names = [f"class{index}" for index in range(CLASSES)]
    signature = None if [*kind.inputs] == ["input"] else [*kind.inputs]
    return Data.from_loaders(*loaders, classes=names, task=kind.task, signature=signature)


def run(kind: Kind, out: Path) -> Run:
    recover = {"epochs": 1, "batch_size": 16}
    stages = [
        Train(**QUICK),
        Prune(target={"macs": 0.6}, recover=recover, timing_seconds=0),
        Distill(teacher="parent", **QUICK),
        Quantize(accept_if={"keep": "quantized", "seconds": 0.05}),
        Export(),
        Profile(seconds=0.05),
    ]
    splits = data(kind)
    pipeline = Pipeline("kind", model=kind.network(), data=splits, stages=stages, task=kind.task, budget=Budget(size_mb=10))
    return pipeline.run(out=out, device="cpu")


@pytest.mark.parametrize("name", KINDS)
def test_the_whole_chain_runs(name, tmp_path):
    kind = KINDS[name]
    result = run(kind, tmp_path)
    record = result.record
    assert record.metric.name == kind.metric
    assert result.verdict is not None
    assert [stage.name for stage in record.stages] == ["train", "prune", "distill", "quantize", "export", "profile"]
    trained, pruned = record.stages[0].after, record.stages[1].after
    assert pruned["macs"].value < 0.75 * trained["macs"].value
    for stage in record.stages:
        assert stage.after[kind.metric].value is not None
        assert stage.after["latency_ms"].value > 0
    assert record.stages[-1].benchmark_rows
    report = (result.folder / "report.md").read_text(encoding="utf-8")
    assert record.metric.label in report
    folder = next(result.folder.rglob("manifest.json")).parent
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"))
    assert [entry.name for entry in session.get_inputs()] == [*kind.inputs]
    feeds = {name: np.zeros((1, *shape), np.float32) for name, shape in kind.inputs.items()}
    assert session.run(None, feeds)[0].shape == (1, CLASSES)
