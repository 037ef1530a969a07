"""Mixup, CutMix and random erasing. Random numbers come from torch's global CPU generator, seeded for each epoch."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from compress.train.curriculum.settings import Curriculum


@dataclass(frozen=True)
class MixedBatch:
    """A batch of mixed images.

    Attributes:
        inputs: The mixed images, (N, C, H, W).
        partner: Index of the second image of each pair, (N,).
        lam: λ, the weight of the first image, in [0, 1].
    """

    inputs: Tensor
    partner: Tensor
    lam: float


def mix_batch(x: Tensor, curriculum: Curriculum) -> MixedBatch:
    """Mix and erase images.

    Args:
        x: Images, (N, C, H, W); not changed.
        curriculum: Its fields `mixup`, `cutmix` and `erase` are used.
    """
    partner, lam = torch.arange(len(x)), 1.0
    kinds = [kind for kind in ("mixup", "cutmix") if getattr(curriculum, kind)]
    if kinds:
        kind = kinds[int(torch.randint(len(kinds), ()))]
        alpha = float(getattr(curriculum, kind))
        lam = float(torch.distributions.Beta(alpha, alpha).sample())
        partner = torch.randperm(len(x))
        if kind == "mixup":
            x = mixup(x, partner, lam)
        else:
            x, lam = cutmix(x, partner, lam, torch.rand(2).tolist())
    if curriculum.erase:
        x = erase(x, torch.rand(len(x)) < curriculum.erase, torch.rand(len(x), 4))
    return MixedBatch(x, partner.to(x.device), lam)


def mixup(x: Tensor, partner: Tensor, lam: float) -> Tensor:
    """λ x + (1 − λ) x[partner] (Zhang et al. 2018, arXiv:1710.09412).

    Args:
        x: Images, (N, C, H, W).
        partner: Index of the second image of each pair, (N,).
        lam: λ in [0, 1].
    """
    return lam * x + (1 - lam) * x[partner.to(x.device)]


def cutmix(x: Tensor, partner: Tensor, lam: float, centre: list[float]) -> tuple[Tensor, float]:
    """Replace a box by the same box of another image (Yun et al. 2019, arXiv:1905.04899).

    Args:
        x: Images, (N, C, H, W).
        partner: Index of the second image of each pair, (N,).
        lam: Nominal λ: the box has height H √(1 − λ) and width W √(1 − λ) before it is clipped at the border.
        centre: Centre of the box, as fractions of H and W.

    Returns:
        Images, and the λ of the clipped box.
    """
    height, width = x.shape[2:]
    side = math.sqrt(1 - lam)
    (top, bottom), (left, right) = _interval(centre[0], side, height), _interval(centre[1], side, width)
    mixed = x.clone()
    mixed[:, :, top:bottom, left:right] = x[partner.to(x.device), :, top:bottom, left:right]
    return mixed, 1 - (bottom - top) * (right - left) / (height * width)


def erase(x: Tensor, selected: Tensor, uniform: Tensor) -> Tensor:
    """Set a box of 2 to 33 % of the area, with an aspect ratio of 0.3 to 3.3, to 0 (Zhong et al. 2020, arXiv:1708.04896).

    Args:
        x: Normalised images, (N, C, H, W), whose mean colour is 0.
        selected: Images to erase, bool (N,).
        uniform: Uniform random numbers in [0, 1) for area, aspect ratio, row and column, (N, 4).
    """
    height, width = x.shape[2:]
    result = x.clone()
    for n in selected.nonzero().flatten().tolist():
        area, aspect, row, column = uniform[n].tolist()
        area, aspect = 0.02 + 0.31 * area, math.exp(math.log(0.3) + aspect * (math.log(3.3) - math.log(0.3)))
        top, bottom = _interval(row, math.sqrt(area * aspect), height)
        left, right = _interval(column, math.sqrt(area / aspect), width)
        result[n, :, top:bottom, left:right] = 0.0
    return result


def mix_logits(z: Tensor, mixed: MixedBatch) -> Tensor:
    """Logits of the original images as logits of their mix: log(λ softmax(z) + (1 − λ) softmax(z[partner])), (N, K).

    Args:
        z: Logits of the original images, (N, K).
        mixed: The mix: partners and λ.
    """
    p = z.softmax(dim=1)
    mean = mixed.lam * p + (1 - mixed.lam) * p[mixed.partner.to(p.device)]
    return mean.clamp(min=torch.finfo(p.dtype).tiny).log()


def _interval(centre: float, fraction: float, size: int) -> tuple[int, int]:
    """Half-open interval of `fraction` of `size` pixels around a centre, clipped at the border."""
    length, middle = round(min(fraction, 1.0) * size), int(centre * size)
    return max(middle - length // 2, 0), min(middle + length - length // 2, size)
