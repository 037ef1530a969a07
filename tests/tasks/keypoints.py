"""Keypoints, a task outside the package: the centre of a square and of a cross in drawn images, by their mean distance."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from compress import Data
from compress.core.record import Metric
from compress.core.signature import TensorSpec
from compress.tasks.base import Rows, Task
from compress.tasks.metric import RatioOfSums

POINTS, SIZE = ("square", "cross"), 16


class MeanDistance(RatioOfSums):
    """Mean distance of predicted and true points, in image widths."""

    def __init__(self):
        super().__init__(Metric(name="distance", label="mean distance", unit="1", higher_is_better=False))

    def scores(self, outputs, targets):
        distances = (outputs["points"] - targets["points"]).norm(dim=2)
        return torch.stack([distances.sum(1), torch.full_like(distances[:, 0], distances.shape[1])], dim=1)


class Keypoints(Task):
    """A point (x, y) in [0, 1] for each class."""

    name = "keypoints"
    metrics = (MeanDistance(),)
    capabilities = frozenset(("continuous_input", "row_per_sample", "image_input"))

    def outputs(self, inputs, classes):  # noqa: ARG002
        return (TensorSpec(name="points", shape=("batch", len(classes), 2)),)

    def targets(self, classes):
        return self.outputs((), classes)

    def loss(self, outputs, targets, *, label_smoothing=0.0):  # noqa: ARG002
        return nn.functional.smooth_l1_loss(outputs["points"], targets["points"])

    def distillable(self, outputs, targets):  # noqa: ARG002
        rows = outputs["points"].flatten(1)
        return Rows(rows, torch.full((len(rows),), -1, device=rows.device))


class Network(nn.Module):
    """Maps of two layers, and the mean place of each of the last maps."""

    def __init__(self, points):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU()
        )
        self.head = nn.Linear(16 * 16, 2 * points)
        self.pool = nn.AdaptiveAvgPool2d(4)

    def forward(self, images):
        points = self.head(self.pool(self.body(images)).flatten(1))
        return points.sigmoid().unflatten(1, (-1, 2))


def network(spec):
    """The network of the recipe."""
    return Network(len(spec.classes))


def draw(count, seed):
    """Images (N, 1, 16, 16) and points (N, 2, 2)."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randint(2, SIZE - 2, (count, len(POINTS), 2), generator=generator)
    images = torch.zeros(count, 1, SIZE, SIZE)
    for image, ((x, y), (u, v)) in zip(images[:, 0], centres.tolist(), strict=True):
        image[y - 1 : y + 2, x - 1 : x + 2] = 1.0
        image[v - 2 : v + 3, u] = image[v, u - 2 : u + 3] = 0.5
    return TensorDataset(images, (centres + 0.5) / SIZE)


def data(settings):
    """The drawn images of the recipe."""
    loaders = [DataLoader(draw(count, seed), batch_size=16) for seed, count in enumerate((128, 32, 32))]
    return Data.from_loaders(*loaders, classes=POINTS, task=Keypoints())
