"""Data and networks of every kind of input and target, for chains by recipe and in Python. It imports nothing of the tests."""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

SAMPLES, CLASSES = 48, 3


def body(dimensions: int, channels: int) -> nn.Sequential:
    """Two convolutions, the second of which halves the sides, and the mean over all places, (N, 16)."""
    kind = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[dimensions]
    norm = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}[dimensions]
    pool = {1: nn.AdaptiveAvgPool1d, 2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d}[dimensions]
    return nn.Sequential(
        kind(channels, 16, 3, padding=1),
        norm(16),
        nn.ReLU(),
        kind(16, 16, 3, padding=1, stride=2),
        nn.ReLU(),
        pool(1),
        nn.Flatten(),
    )


class Two(nn.Module):
    """An image and numbers about it."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.image, self.numbers = body(2, 3), nn.Sequential(nn.Linear(5, 16), nn.ReLU())
        self.head = nn.Linear(32, outputs)

    def forward(self, image: Tensor, numbers: Tensor) -> Tensor:
        return self.head(torch.cat([self.image(image), self.numbers(numbers)], dim=1))


def network(spec: Any) -> nn.Module:
    """The network of a recipe: what fits the inputs and the classes of the data."""
    shapes = [each.shape[1:] for each in spec.signature.inputs]
    if len(shapes) == 2:
        return Two(len(spec.classes))
    return nn.Sequential(body(len(shapes[0]) - 1, shapes[0][0]), nn.Linear(16, len(spec.classes)))


class Kind(NamedTuple):
    """What goes through the chain.

    Attributes:
        inputs: Shapes of a sample by name.
        task: As a recipe writes it.
        metric: The deciding one.
    """

    inputs: dict[str, tuple[int, ...]]
    task: str | dict[str, Any]
    metric: str


IMAGE_AND_NUMBERS = {"image": (3, 12, 16), "numbers": (5,)}
KINDS = {
    "grey": Kind({"input": (1, 12, 20)}, "classification", "accuracy"),
    "four_channels": Kind({"input": (4, 16, 12)}, "classification", "accuracy"),
    "signal": Kind({"signal": (2, 40)}, "classification", "accuracy"),
    "volume": Kind({"scan": (1, 6, 8, 7)}, "classification", "accuracy"),
    "two_inputs": Kind(IMAGE_AND_NUMBERS, "classification", "accuracy"),
    "multilabel": Kind({"input": (3, 12, 20)}, "multilabel", "macro_f1"),
    "multilabel_signal": Kind({"signal": (1, 32)}, "multilabel", "macro_f1"),
    "age": Kind(IMAGE_AND_NUMBERS, "regression", "rmse"),
    "angle": Kind({"signal": (1, 32)}, {"regression": {"error": "huber", "period": 360.0}}, "rmse"),
}


def targets(kind: Kind, generator: np.random.Generator) -> np.ndarray:
    """Classes (N,), labels (N, K) or values (N, V)."""
    if kind.task == "classification":
        return np.arange(SAMPLES) % CLASSES
    if kind.task == "multilabel":
        return (generator.random((SAMPLES, CLASSES)) < 0.5).astype(np.float32)
    return generator.uniform(0, 90, (SAMPLES, CLASSES)).astype(np.float32)


def arrays(kind: Kind, seed: int) -> dict[str, np.ndarray]:
    """Inputs whose first values depend on the targets, the targets, and the names of the outputs."""
    generator = np.random.default_rng(seed)
    target = targets(kind, generator)
    rows = np.eye(CLASSES)[target] if target.ndim == 1 else target / target.max()
    inputs = {name: generator.normal(size=(SAMPLES, *shape)).astype(np.float32) for name, shape in kind.inputs.items()}
    first = next(iter(inputs.values())).reshape(SAMPLES, -1)
    for index in range(CLASSES):
        part = first[:, index :: 2 * CLASSES]
        part += 3 * rows[:, index : index + 1]
    return {**inputs, "target": target, "classes": np.array([f"output {index}" for index in range(CLASSES)])}
