from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import onnx
import pytest
import torch

from compress.core.network_spec import image_spec
from compress.data.batch import Batch
from compress.data.interface import Data
from tests.profile.onnx_models import network


@pytest.fixture
def save(tmp_path: Path) -> Callable[[str, onnx.ModelProto], Path]:
    def write(name: str, built: onnx.ModelProto) -> Path:
        path = tmp_path / name
        onnx.save(built, path)
        return path

    return write


@pytest.fixture
def tiny(save: Callable[..., Path]) -> Path:
    return save("tiny.onnx", network())


@dataclass
class FixedSplit:
    inputs: torch.Tensor
    targets: torch.Tensor
    fingerprint: str = "fixed"
    views: int | None = 1

    def __len__(self) -> int:
        return len(self.targets)

    def ordered(self, batch_size: int) -> list[Batch]:
        pairs = zip(self.inputs.split(batch_size), self.targets.split(batch_size), strict=True)
        return [Batch.of(inputs, targets) for inputs, targets in pairs]

    def epoch(self, _number: int, batch_size: int, _seed: int) -> list[Batch]:
        return self.ordered(batch_size)

    def view(self, _number: int, batch_size: int) -> list[Batch]:
        return self.ordered(batch_size)

    def batches(self, batch_size: int) -> int:
        return len(self.ordered(batch_size))


@pytest.fixture
def split() -> FixedSplit:
    random = torch.Generator().manual_seed(0)
    return FixedSplit(torch.randn(11, 3, 8, 8, generator=random), torch.arange(11) % 5)


@pytest.fixture
def data(split: FixedSplit) -> Data:
    spec = image_spec(channels=3, height=8, width=8, mean=(0, 0, 0), std=(1, 1, 1), classes=tuple("abcde"))
    return Data(spec, split, split, split)
