from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import nn

from compress.core.network_spec import NetworkSpec, image_spec
from compress.core.stage import Candidate
from compress.data.batch import Batch
from compress.data.interface import Data
from compress.tasks.classification import Classification

QUICK = {"epochs": 2, "batch_size": 32, "lr": 0.01, "keep": "last", "teacher": "none"}
WEIGHT = {"granularity": "weight", "target": {"sparsity": 0.7}, "recover": QUICK, "timing_seconds": 0}
CHANNEL = {"target": {"params": 0.6}, "recover": QUICK, "schedule": {"kind": "one_shot"}, "timing_seconds": 0}
PICKING = {"pick_strength": 0.1, "pick_ceiling": 0.3}
BEFORE = {"epochs": 1, "batch_size": 32, "lr": 0.01, "keep": "last"}

WAYS = {
    "exponential": {**WEIGHT, "schedule": {"kind": "exponential", "steps": 2}},
    "accuracy_aware": {**WEIGHT, "schedule": {"kind": "accuracy_aware", "steps": 2, "drop": 0.9}},
    "lottery": {**WEIGHT, "schedule": {"kind": "lottery", "steps": 2, "rewind": 3}, "recover": {**QUICK, "teacher": "parent"}},
    "set": {**WEIGHT, "schedule": {"kind": "set", "update_every": 1}, "importance": "random", "ranking": "erk"},
    "rigl": {**WEIGHT, "schedule": {"kind": "rigl", "update_every": 1}, "importance": "random", "ranking": "erk"},
    "slimming": {**CHANNEL, "sparse_training": {**BEFORE, "kind": "slimming"}, "importance": "bn_scale"},
    "l1": {**WEIGHT, "sparse_training": {**BEFORE, "kind": "l1"}, "schedule": {"kind": "one_shot"}},
    "group_lasso": {**CHANNEL, "sparse_training": {**BEFORE, "kind": "group_lasso"}},
    "greg2": {**CHANNEL, "sparse_training": {**BEFORE, **PICKING, "kind": "greg2", "every": 1, "epochs": 2}},
    "greg1": {**CHANNEL, "sparse_training": {**BEFORE, "kind": "greg1", "every": 1, "epochs": 2}},
    "synflow": {**WEIGHT, "importance": "synflow", "schedule": {"kind": "one_shot"}},
    "grasp": {**WEIGHT, "importance": "grasp", "schedule": {"kind": "one_shot"}},
    "hessian": {**CHANNEL, "importance": "hessian", "batches": 1},
    "wanda": {**CHANNEL, "importance": "wanda"},
}


def _same(item, other):
    a, b = item.candidate.network().state_dict(), other.candidate.network().state_dict()
    assert a.keys() == b.keys()
    assert all(torch.equal(value, b[name]) for name, value in a.items())
    assert item.tables == other.tables


def _spec(size: int, classes: int = 4) -> NetworkSpec:
    names = tuple(map(str, range(classes)))
    return image_spec(channels=3, height=size, width=size, mean=(0.0,) * 3, std=(1.0,) * 3, classes=names)


@dataclass(frozen=True)
class Fixed:
    """Fixed noise whose class is the brightest quadrant of the first channel; batches shuffled by (number, seed)."""

    count: int
    key: int
    fingerprint: str = "fixed"
    views: int | None = 1

    def tensors(self):
        x = torch.randn(self.count, 3, 8, 8, generator=torch.Generator().manual_seed(self.key))
        return x, nn.functional.avg_pool2d(x[:, 0], 4).flatten(1).argmax(1)

    def __len__(self) -> int:
        return self.count

    def _cut(self, order, batch_size):
        x, y = self.tensors()
        for part in order.split(batch_size):
            yield Batch.of(x[part], y[part], part, torch.zeros_like(part))

    def ordered(self, batch_size):
        return self._cut(torch.arange(self.count), batch_size)

    def view(self, number, batch_size):  # noqa: ARG002  # not augmented
        return self._cut(torch.arange(self.count), batch_size)

    def epoch(self, number, batch_size, seed):
        generator = torch.Generator().manual_seed(seed * 1000 + number)
        return self._cut(torch.randperm(self.count, generator=generator), batch_size)

    def batches(self, batch_size):
        return -(-self.count // batch_size)


@pytest.fixture
def data() -> Data:
    return Data(spec=_spec(8), train=Fixed(64, 1), validation=Fixed(32, 2), test=Untouchable())


class Untouchable:
    fingerprint, views = "test", 1

    def __getattr__(self, name):
        raise AssertionError(f"pruning looked at the test split: {name}")


@pytest.fixture
def spec() -> NetworkSpec:
    return _spec(8)


@pytest.fixture
def task() -> Classification:
    return Classification()


class Residual(nn.Module):
    """A small network with a residual, a depthwise convolution and a head; widths are multiples of 8."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU())
        self.expand = nn.Sequential(nn.Conv2d(32, 64, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU())
        self.depth = nn.Sequential(nn.Conv2d(64, 64, 3, padding=1, groups=64, bias=False), nn.BatchNorm2d(64), nn.ReLU())
        self.project = nn.Sequential(nn.Conv2d(64, 32, 1, bias=False), nn.BatchNorm2d(32))
        self.head = nn.Linear(32, 4)

    def forward(self, x):
        x = self.stem(x)
        x = x + self.project(self.depth(self.expand(x)))
        return self.head(x.mean((2, 3)))


@pytest.fixture
def residual() -> nn.Module:
    torch.manual_seed(0)
    return Residual().eval()


@pytest.fixture
def context(make_context, data, task):
    return make_context(data, task=task, seed=3)


@pytest.fixture
def candidate(residual, spec):
    return Candidate(spec=spec, module=residual)


class Wide(nn.Module):
    """Convolutions large enough that half of the channels show in the time."""

    def __init__(self, width=64):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1), nn.ReLU()
        )
        self.head = nn.Linear(width, 4)

    def forward(self, x):
        return self.head(self.body(x).mean((2, 3)))


@pytest.fixture
def wide():
    torch.manual_seed(0)
    return Wide().eval()
