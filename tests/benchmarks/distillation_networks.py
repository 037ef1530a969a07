"""Networks of bench_distillation.py, and a function that serves as a teacher. `python:` sources name its functions as well."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

FEW = 2000
MANY = 10_000


def convolutions(plan: Sequence[tuple[int, int]], classes: int, dropout: float = 0.0) -> nn.Module:
    """Convolutions 3 × 3 of (width, stride), a mean over quarters of what is left, a head."""
    layers: list[nn.Module] = []
    before = 3
    for width, stride in plan:
        convolution = nn.Conv2d(before, width, 3, stride, padding=1, bias=False)
        layers.append(nn.Sequential(convolution, nn.BatchNorm2d(width), nn.ReLU()))
        before = width
    head = nn.Linear(4 * before, classes)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Dropout(dropout), head).eval()


def small(num_classes: int) -> nn.Module:
    """The small CNN: 19,392 weights with 62 classes, 1/52 of its teacher."""
    return convolutions([(10, 2), (20, 2), (40, 2)], num_classes)


def assistant(num_classes: int) -> nn.Module:
    """Between the two: 125,278 weights."""
    return convolutions([(32, 2), (64, 2), (128, 2)], num_classes)


def teacher(num_classes: int) -> nn.Module:
    """1,000,146 weights; the first layer keeps the resolution."""
    return convolutions([(20, 1), (40, 2), (96, 2), (192, 2), (400, 1)], num_classes, dropout=0.2)


def perceptron(num_classes: int) -> nn.Module:
    """An MLP on the pixels of 8 × 8 means."""
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(8), nn.Flatten(), nn.Linear(192, 96), nn.ReLU(), nn.Linear(96, num_classes)
    ).eval()


class Recurrent(nn.Module):
    """A GRU that reads an image of 16 × 16 means row by row."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.rows = nn.GRU(48, 64, batch_first=True)
        self.head = nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) → (N, K)."""
        x = nn.functional.adaptive_avg_pool2d(x, 16)
        answer: Tensor = self.head(self.rows(x.transpose(1, 2).flatten(2))[0][:, -1])
        return answer


def recurrent(num_classes: int) -> nn.Module:
    """25,918 weights."""
    return Recurrent(num_classes).eval()


class Block(nn.Module):
    """Attention, then an MLP, each behind a norm."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """(N, L, D) → (N, L, D)."""
        y = self.first(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        answer: Tensor = x + self.mlp(self.second(x))
        return answer


class Transformer(nn.Module):
    """16 patches of an image of 32 × 32, blocks of attention, a head on the mean."""

    def __init__(self, classes: int, *, width: int, depth: int, heads: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 8, 8)
        self.places = nn.Parameter(0.02 * torch.randn(1, 16, width))
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) → (N, K)."""
        x = self.patches(nn.functional.adaptive_avg_pool2d(x, 32)).flatten(2).transpose(1, 2) + self.places
        for block in self.blocks:
            x = block(x)
        answer: Tensor = self.head(x.mean(1))
        return answer


def attentive(num_classes: int) -> nn.Module:
    """A small transformer."""
    return Transformer(num_classes, width=24, depth=2, heads=2).eval()


def attentive_teacher(num_classes: int) -> nn.Module:
    """A larger one."""
    return Transformer(num_classes, width=96, depth=4, heads=4).eval()


@functools.cache
def _fitted(size: int) -> object:
    """A support vector machine on the pixels of the 2,000 labelled images."""
    from sklearn.svm import SVC

    from compress.data.factory import load_data
    from compress.data.settings import DataSettings

    settings = DataSettings(source="glyphs", image_size=size, samples=MANY, limit=FEW, validation=0.05)
    data = load_data(settings, base=Path.cwd())
    images, labels = [], []
    for batch in data.train.ordered(500):
        images.append(batch.input)
        labels.append(batch.target)
    pixels = torch.cat(images) * torch.tensor(data.spec.std).view(1, -1, 1, 1) + torch.tensor(data.spec.mean).view(1, -1, 1, 1)
    return SVC(C=10.0, decision_function_shape="ovr").fit(_pixels(pixels), torch.cat(labels).numpy())


def _pixels(images: Tensor) -> NDArray[np.float32]:
    """Grey 16 × 16 means, zero mean and unit length, without their sign: dark on bright is bright on dark."""
    grey = nn.functional.adaptive_avg_pool2d(images.mean(1, keepdim=True), 16).flatten(1)
    grey = grey - grey.mean(1, keepdim=True)
    grey = grey * (grey.pow(3).sum(1, keepdim=True)).sign()
    return nn.functional.normalize(grey, dim=1).numpy()


def oracle(images: Tensor) -> NDArray[np.float64]:
    """Probabilities from the votes of the support vector machine, (N, K)."""
    votes = _fitted(images.shape[-1]).decision_function(_pixels(images))  # type: ignore[attr-defined]
    odds = np.exp(votes - votes.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)  # type: ignore[no-any-return]
