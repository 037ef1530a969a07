"""A smooth network for scores, and references in float64."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from compress.data.batch import Batch
from compress.prune.criteria import ScoringData
from compress.prune.unstructured.weights import prunable


class Small(nn.Module):
    """One convolution and a head, smooth so that second derivatives are not zero."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.head = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.conv(x)).mean((2, 3)))


def scoring_data(data: Any, task: Any, net: nn.Module, count: int = 2, **fields: Any) -> ScoringData:
    batches = [batch for _, batch in zip(range(count), data.train.ordered(8), strict=False)]
    return ScoringData(batches, task, prunable=tuple(prunable(net)), **fields)


def in_float64(net: nn.Module, batch: Batch) -> tuple[nn.Module, Tensor, Tensor]:
    return copy.deepcopy(net).double(), batch.input.double(), batch.target


def cross_entropy(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    z = net(x)
    return (torch.logsumexp(z, 1) - z[torch.arange(len(y)), y]).mean()
