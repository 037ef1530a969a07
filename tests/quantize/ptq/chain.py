"""A network with every shape that a weight has, and its outputs."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import torch
from torch import nn

from compress.backends import onnx_session
from tests.export.tiny import split


class Chain(nn.Module):
    """Convolution, grouped and depthwise ones, pointwise, linear: every shape that a weight has."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.depth = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.grouped = nn.Conv2d(8, 12, 3, groups=2)
        self.point = nn.Conv2d(12, 16, 1, bias=False)
        self.hidden, self.head = nn.Linear(16, 10), nn.Linear(10, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.depth(torch.relu(self.stem(x))))
        x = torch.relu(self.point(self.grouped(x))).mean((2, 3))
        return self.head(torch.relu(self.hidden(x)))


NAMES = ("stem", "depth", "grouped", "point", "hidden", "head")
X = split(24, 3).inputs.numpy()


def answers(model: ir.Model, x: np.ndarray = X) -> np.ndarray:
    return onnx_session.run(onnx_session.create_session(model), x)
