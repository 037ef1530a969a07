"""Random importance: the control that any method must beat."""

from __future__ import annotations

import zlib

import torch
from torch import Tensor

from compress.prune.criteria.base import Importance


def random(seed: int = 0) -> Importance:
    """Uniform in (0, 1], a function of the seed and the name."""

    def draw(name: str, shape: tuple[int, ...]) -> Tensor:
        generator = torch.Generator().manual_seed(zlib.crc32(f"{seed}:{name}".encode()))
        return 1 - torch.rand(shape, generator=generator)

    return Importance(
        channels=lambda name, group: draw(name, (len(group[0].idxs),)),
        weights=lambda name, w: draw(name, tuple(w.shape)),
    )
