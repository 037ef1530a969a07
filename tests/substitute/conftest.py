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
from compress.train.recalibrate_batchnorm import recalibrate_batchnorm


@dataclass(frozen=True)
class Quadrants:
    """Noise whose class is the brightest quadrant of the first channel; batches shuffled by (number, seed)."""

    count: int
    key: int
    fingerprint: str = "quadrants"
    views: int | None = 1

    def _tensors(self):
        x = torch.randn(self.count, 3, 16, 16, generator=torch.Generator().manual_seed(self.key))
        return x, nn.functional.avg_pool2d(x[:, 0], 8).flatten(1).argmax(1)

    def __len__(self) -> int:
        return self.count

    def _cut(self, order, batch_size):
        x, y = self._tensors()
        for part in order.split(batch_size):
            yield Batch.of(x[part], y[part], part, torch.zeros_like(part))

    def ordered(self, batch_size):
        return self._cut(torch.arange(self.count), batch_size)

    def view(self, number, batch_size):  # noqa: ARG002  # not augmented
        return self._cut(torch.arange(self.count), batch_size)

    def epoch(self, number, batch_size, seed):
        return self._cut(torch.randperm(self.count, generator=torch.Generator().manual_seed(seed * 1000 + number)), batch_size)

    def batches(self, batch_size):
        return -(-self.count // batch_size)


class Untouchable:
    fingerprint, views = "test", 1

    def __getattr__(self, name):
        raise AssertionError(f"substitution read the test split: {name}")


@pytest.fixture
def spec() -> NetworkSpec:
    return image_spec(channels=3, height=16, width=16, mean=(0.0,) * 3, std=(1.0,) * 3, classes=tuple("abcd"))


@pytest.fixture
def data(spec) -> Data:
    return Data(spec=spec, train=Quadrants(64, 1), validation=Quadrants(32, 2), test=Untouchable())


@pytest.fixture
def task() -> Classification:
    return Classification()


class Gate(nn.Module):
    """Squeeze-excite of the user's own."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze, self.excite = nn.Linear(channels, channels // 4), nn.Linear(channels // 4, channels)

    def forward(self, x):
        s = torch.sigmoid(self.excite(torch.relu(self.squeeze(x.mean((2, 3))))))
        return x * s[:, :, None, None]


class Block(nn.Module):
    """Expand, 5×5 depthwise, gate, project, residual; as MobileNetV3 has it."""

    def __init__(self, channels: int = 8, hidden: int = 16) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.Hardswish(inplace=True),
            nn.Conv2d(hidden, hidden, 5, padding=2, groups=hidden, bias=False), nn.BatchNorm2d(hidden), nn.SiLU(),
            Gate(hidden),
            nn.Conv2d(hidden, channels, 1, bias=False), nn.BatchNorm2d(channels),
        )  # fmt: skip

    def forward(self, x):
        return x + self.body(x)


class Mobile(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.GELU())
        self.block = Block()
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        return self.head(self.block(self.stem(x)).mean((2, 3)))


@pytest.fixture
def mobile() -> nn.Module:
    torch.manual_seed(0)
    net = Mobile()
    with torch.no_grad():  # gates and statistics that are not those of a fresh network
        net.block.body[6].excite.bias.normal_(std=2.0)
    recalibrate_batchnorm(net.eval(), [(torch.randn(64, 3, 16, 16),)])
    return net


@pytest.fixture
def context(make_context, data, task):
    return make_context(data, task=task, seed=3)


@pytest.fixture
def candidate(mobile, spec):
    return Candidate(spec=spec, module=mobile)
