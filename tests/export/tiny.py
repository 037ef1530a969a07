"""A small network, splits and devices for the tests of export and quantization."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from compress.config.devices.profile_schema import Precision
from compress.core.network_spec import NetworkSpec, image_spec
from compress.data.batch import Batch

SPEC = image_spec(
    channels=3, height=16, width=12, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7), classes=("zéro", "one", "two", "3")
)


@dataclass
class TinySplit:
    inputs: Tensor
    targets: Tensor
    fingerprint: str = "tiny"
    views: int | None = 1

    def __len__(self) -> int:
        return len(self.targets)

    def ordered(self, batch_size: int) -> Iterator[Batch]:
        for start in range(0, len(self), batch_size):
            part = slice(start, start + batch_size)
            yield Batch.of(self.inputs[part], self.targets[part])

    def epoch(self, number: int, batch_size: int, seed: int) -> Iterator[Batch]:  # noqa: ARG002
        return self.ordered(batch_size)

    def view(self, number: int, batch_size: int) -> Iterator[Batch]:  # noqa: ARG002
        return self.ordered(batch_size)

    def batches(self, batch_size: int) -> int:
        return -(-len(self) // batch_size)


def split(count: int, seed: int, spec: NetworkSpec = SPEC) -> TinySplit:
    generator = torch.Generator().manual_seed(seed)
    targets = torch.arange(count) % len(spec.classes)
    inputs = torch.randn(count, *spec.shape, generator=generator) + targets.view(-1, 1, 1, 1) * 0.5
    return TinySplit(inputs, targets)


class Residual(nn.Module):
    """Conv + batch norm, depthwise, residual add, ReLU6, pooling, linear: what edge networks are made of."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU6())
        self.depthwise = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1, groups=16, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.point = nn.Sequential(nn.Conv2d(16, 16, 1, bias=False), nn.BatchNorm2d(16))
        self.wide = nn.Conv2d(16, 32, 3, stride=2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(32, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x + self.point(self.depthwise(x))
        return self.head(self.pool(torch.relu(self.wide(x))).flatten(1))


PRECISION = Precision(floats="fp32", activations="uint8", symmetric_activations=False, source="of no device: a test's own")


@dataclass(frozen=True)
class Target:
    """As much of a device profile as these stages look at."""

    name: str
    runtime: str
    runtime_release: str | None = None
    runtimes: tuple[str, ...] = ()
    connection: str | None = None
    precision: Precision = PRECISION


def trained() -> Residual:
    """Fitted to `split` in seconds, so that its answers are far apart, as a trained network's are."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        net = Residual()
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
        data = split(240, 7)
        for _ in range(30):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(data.inputs), data.targets).backward()
            optimizer.step()
    return net.eval()
