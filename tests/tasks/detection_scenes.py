"""Outputs of detectors for the tests of post-processing: random ones, and those of drawn scenes without and with objects."""

from __future__ import annotations

import torch
from torch import Tensor

from compress.tasks.boxes import encode_boxes
from compress.tasks.detection_outputs import ANCHORS, CLASS_LOGITS, IMAGE_SIZE, OFFSETS

HEIGHT, WIDTH = 48, 64


def random_outputs(batch: int = 3, anchors: int = 400, classes: int = 4, seed: int = 0) -> dict[str, Tensor]:
    """Many overlapping boxes, over the edge in part, with scores from 0 to 1; more pairs than suppression sees."""
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(anchors, 2, generator=generator) * 60 - 5
    sizes = 4 + 20 * torch.rand(anchors, 2, generator=generator)
    return {
        CLASS_LOGITS: 3 * torch.randn(batch, anchors, classes, generator=generator) - 1,
        OFFSETS: 0.3 * torch.randn(batch, anchors, 4, generator=generator),
        ANCHORS: torch.cat([corners, corners + sizes], dim=1).expand(batch, -1, -1).clone(),
        IMAGE_SIZE: torch.tensor([HEIGHT, WIDTH]).expand(batch, 2),
    }


def outputs_of_classes() -> dict[str, Tensor]:
    """Outputs with offsets of each class, as detectors of two stages have."""
    outputs = random_outputs(2)
    generator = torch.Generator().manual_seed(1)
    anchors, classes = outputs[CLASS_LOGITS].shape[1:]
    return outputs | {OFFSETS: 0.3 * torch.randn(2, anchors, 4 * classes, generator=generator)}


def scene_outputs() -> dict[str, Tensor]:
    """Three scenes as a good detector sees them: two objects at three anchors each, none, and one over the edge."""
    grid = torch.tensor([[x, y, x + 12.0, y + 12.0] for y in range(0, HEIGHT, 6) for x in range(0, WIDTH, 6)])
    scenes = [[((10.0, 8.0, 30.0, 25.0), 0), ((40.0, 20.0, 55.0, 44.0), 2)], [], [((50.0, 30.0, 75.0, 60.0), 1)]]
    logits, offsets = torch.full((3, len(grid), 3), -9.0), torch.zeros(3, len(grid), 4)
    for index, objects in enumerate(scenes):
        for box, number in objects:
            corners = torch.tensor(box)
            nearest = (grid - corners).abs().sum(1).argsort()[:3]
            logits[index, nearest, number] = torch.tensor([4.0, 2.0, 1.0])
            offsets[index, nearest] = encode_boxes(corners.expand(3, 4), grid[nearest])
    sizes = torch.tensor([HEIGHT, WIDTH]).expand(3, 2)
    return {CLASS_LOGITS: logits, OFFSETS: offsets, ANCHORS: grid.expand(3, -1, -1).clone(), IMAGE_SIZE: sizes}
