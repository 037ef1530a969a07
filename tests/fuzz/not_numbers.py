"""Values that are no numbers, or too large: in weights, data, labels and rates of small runs.

A run may end in a clear error or say a warning; a network whose answers are not numbers must not pass unmentioned.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from compress import Data, Distill, Export, Pipeline, Prune, Quantize, Train
from tests.fuzz.harness import Case

ODD = (float("nan"), float("inf"), -float("inf"), 3e38, -3e38, 1e-40, -1.0, 0.0)
RATES = (1e6, 1e30, 1e300, 1e-300)
PARTS = (slice(0, 40), slice(40, 50), slice(50, 60))
LABELS = (-1, 4, 99, 1 << 40)
STAGES: dict[str, Callable[[float], list[Any]]] = {
    "train": lambda rate: [Train(epochs=1, lr=rate, optimizer="sgd")],
    "distill": lambda rate: [Distill(epochs=1, lr=rate, optimizer="sgd")],
    "prune": lambda rate: [
        Prune(target={"macs": 0.6}, schedule={"steps": 1}, timing_seconds=0, recover={"epochs": 1, "lr": rate})
    ],
    "quantize": lambda _: [Quantize(), Export()],
}


def cases(rng: random.Random, count: int, work: Path) -> Iterator[Case]:
    """One odd value in one place of one run each."""
    for _ in range(count):
        name = rng.choice(list(STAGES))
        place = rng.choice(["weight", "running variance", "teacher", "data", "label", "rate"])
        shutil.rmtree(work / "out", ignore_errors=True)
        yield Case(f"{name}, {place}", partial(_run, name, place, rng.choice(ODD), rng, work / "out"))


def _run(name: str, place: str, value: float, rng: random.Random, out: Path) -> None:
    network, teacher = _network(), _network()
    images = torch.randn(60, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(60) % 4
    changed: dict[str, Tensor] = {
        "weight": network[rng.choice([0, 5])].weight.data, "running variance": network[1].running_var,
        "teacher": teacher[5].weight.data,
        "data": images,
    }  # fmt: skip
    if place in changed:
        changed[place].flatten()[rng.randrange(changed[place].numel())] = value
    elif place == "label":
        labels[rng.randrange(60)] = rng.choice(LABELS)
    rate = rng.choice(RATES) if place == "rate" else 0.001
    splits = [
        DataLoader(TensorDataset(images[part], labels[part]), batch_size=20)
        for part in (slice(0, 40), slice(40, 50), slice(50, 60))
    ]
    data = Data.from_loaders(*splits, classes=list("abcd"))
    needed = {"teacher": teacher} if name == "distill" else {}
    Pipeline("odd", model=network, data=data, stages=STAGES[name](rate), **needed).run(out=out)


def _network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)
    )
