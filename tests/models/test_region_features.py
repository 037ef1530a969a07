"""Features of boxes against torchvision's MultiScaleRoIAlign."""

from __future__ import annotations

import torch
from torchvision.ops import MultiScaleRoIAlign

from compress.models.region_features import RegionPooling

SIZE = (64, 96)


def test_features_are_those_of_torchvision() -> None:
    torch.manual_seed(0)
    maps = {str(index): torch.randn(2, 3, SIZE[0] // stride, SIZE[1] // stride) for index, stride in enumerate((4, 8, 16))}
    corners = torch.rand(2, 40, 2) * 40
    boxes = torch.cat([corners, corners + 2 + 40 * torch.rand(2, 40, 1) * torch.rand(2, 40, 2)], dim=2)
    pooler = MultiScaleRoIAlign(["0", "1", "2"], 5, 2, canonical_scale=8, canonical_level=3)
    pooling = RegionPooling.of(pooler, list(maps.values()), SIZE)
    assert pooling.scales == (0.25, 0.125, 0.0625)
    assert set(pooling.levels(boxes).flatten().tolist()) == {0, 1, 2}
    features = pooling.pool(list(maps.values()), boxes)
    expected = pooler(maps, list(boxes), [SIZE] * 2)
    assert torch.allclose(features, expected, atol=1e-6)


def test_levels_follow_equation_1_and_boxes_without_area_have_the_first() -> None:
    pooling = RegionPooling((1 / 8, 1 / 16, 1 / 32), (7, 7), 2, 224.0, 4)
    sides = torch.tensor([0.0, 111.0, 112.0, 223.0, 224.0, 447.0, 448.0, 2000.0])
    boxes = torch.stack([torch.zeros(8), torch.zeros(8), sides, sides], dim=1)
    assert pooling.levels(boxes).tolist() == [0, 0, 0, 0, 1, 1, 2, 2]
