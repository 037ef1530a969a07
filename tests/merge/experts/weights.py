"""Random weights of experts."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from compress.merge.experts.method import Expert

WIDTH, HIDDEN = 5, 6


def expert(seed: int) -> Expert:
    generator = torch.Generator().manual_seed(seed)
    return Expert(*(torch.randn(shape, generator=generator) for shape in ((HIDDEN, WIDTH), (HIDDEN, WIDTH), (WIDTH, HIDDEN))))


def output(weights: Expert, x: Tensor) -> Tensor:
    return (F.silu(x @ weights.gate.T) * (x @ weights.up.T)) @ weights.down.T


def inputs() -> Tensor:
    return torch.randn(7, WIDTH, generator=torch.Generator().manual_seed(99))
