"""Images mixed with each other or blanked in part. Chance comes from torch's global CPU generator, seeded for each epoch."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from compress.train.curriculum.settings import Curriculum


@dataclass(frozen=True)
class MixedBatch:
    """How the images of a batch were put together.

    Attributes:
        inputs: What is seen, (N, C, H, W).
        partner: Index of the second image of each, (N,).
        lam: λ, the weight of the first image, in [0, 1].
    """

    inputs: Tensor
    partner: Tensor
    lam: float


def mix_batch(x: Tensor, curriculum: Curriculum) -> MixedBatch:
    """Mix and blank a batch as a curriculum says.

    Args:
        x: Images, (N, C, H, W); left as they are.
        curriculum: Its `mixup`, `cutmix` and `erase`.
    """
    partner, share = torch.arange(len(x)), 1.0
    kinds = [kind for kind in ("mixup", "cutmix") if getattr(curriculum, kind)]
    if kinds:
        kind = kinds[int(torch.randint(len(kinds), ()))]
        alpha = float(getattr(curriculum, kind))
        share = float(torch.distributions.Beta(alpha, alpha).sample())
        partner = torch.randperm(len(x))
        if kind == "mixup":
            x = mixup(x, partner, share)
        else:
            x, share = cutmix(x, partner, share, torch.rand(2).tolist())
    if curriculum.erase:
        x = erase(x, torch.rand(len(x)) < curriculum.erase, torch.rand(len(x), 4))
    return MixedBatch(x, partner.to(x.device), share)


def mixup(x: Tensor, partner: Tensor, share: float) -> Tensor:
    """λ x + (1 − λ) x[partner] (Zhang et al. 2018, arXiv:1710.09412).

    Args:
        x: Images, (N, C, H, W).
        partner: Index of the second image of each, (N,).
        share: λ in [0, 1].
    """
    return share * x + (1 - share) * x[partner.to(x.device)]


def cutmix(x: Tensor, partner: Tensor, share: float, centre: list[float]) -> tuple[Tensor, float]:
    """A box of another image in its place (Yun et al. 2019, arXiv:1905.04899).

    Args:
        x: Images, (N, C, H, W).
        partner: Index of the second image of each, (N,).
        share: λ wanted: the box has height H √(1 − λ) and width W √(1 − λ) before it is cut off at the border.
        centre: Of the box, as fractions of H and W.

    Returns:
        Images, and the λ that came out.
    """
    height, width = x.shape[2:]
    side = math.sqrt(1 - share)
    (top, bottom), (left, right) = _span(centre[0], side, height), _span(centre[1], side, width)
    mixed = x.clone()
    mixed[:, :, top:bottom, left:right] = x[partner.to(x.device), :, top:bottom, left:right]
    return mixed, 1 - (bottom - top) * (right - left) / (height * width)


def erase(x: Tensor, chosen: Tensor, chance: Tensor) -> Tensor:
    """Blank a box of 2 to 33 % of the area, of aspect 0.3 to 3.3 (Zhong et al. 2020, arXiv:1708.04896).

    Args:
        x: Normalised images, (N, C, H, W); blank is 0, the mean colour.
        chosen: Which of them, bool (N,).
        chance: Uniform numbers for area, aspect and place, (N, 4).
    """
    height, width = x.shape[2:]
    erased = x.clone()
    for n in chosen.nonzero().flatten().tolist():
        area, aspect, down, across = chance[n].tolist()
        area, aspect = 0.02 + 0.31 * area, math.exp(math.log(0.3) + aspect * (math.log(3.3) - math.log(0.3)))
        top, bottom = _span(down, math.sqrt(area * aspect), height)
        left, right = _span(across, math.sqrt(area / aspect), width)
        erased[n, :, top:bottom, left:right] = 0.0
    return erased


def mix_logits(z: Tensor, changed: MixedBatch) -> Tensor:
    """Answers to single images as one to their mix: log(λ softmax(z) + (1 − λ) softmax(z[partner])), (N, K).

    Args:
        z: Logits of the first images, (N, K).
        changed: How they were mixed.
    """
    p = z.softmax(dim=1)
    mean = changed.lam * p + (1 - changed.lam) * p[changed.partner.to(p.device)]
    return mean.clamp(min=torch.finfo(p.dtype).tiny).log()


def _span(centre: float, part: float, size: int) -> tuple[int, int]:
    """First and last + 1 of a stretch of `part` of `size` pixels around a centre, cut off at the border."""
    length, middle = round(min(part, 1.0) * size), int(centre * size)
    return max(middle - length // 2, 0), min(middle + length - length // 2, size)
