"""One dry forward of a network: does it take the data's images, and does it answer for the data's classes?"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from compress.core.errors import ModelError
from compress.core.record import InputSpec
from compress.models.settings import ModelSettings

SIZES = (16, 24, 32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256, 299, 320, 384, 448, 512)


def dry_run(module: nn.Module, spec: InputSpec, settings: ModelSettings) -> None:
    """Run two black images, then one, through a network in eval mode.

    Raises:
        ModelError: It cannot take the shape, or its output is not (N, K).
    """
    try:
        outputs = _forward(module, spec.channels, spec.height, spec.width)
    except Exception as error:
        raise ModelError(_why_not(module, spec, settings, error)) from error
    if not isinstance(outputs, Tensor) or outputs.ndim != 2:
        shape = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        msg = f"{settings.source} answers a batch of 2 with {shape}; a classification network must give one tensor (2, classes)"
        raise ModelError(msg)
    expected = (2, len(spec.classes))
    if tuple(outputs.shape) != expected:
        msg = (
            f"class-count mismatch: {settings.source} answers for {outputs.shape[1]} classes, the data has {expected[1]}; "
            f"to replace its head by a fresh one that fits, set args: {{num_classes: {outputs.shape[1]}}}"
        )
        raise ModelError(msg)
    try:
        _forward(module, spec.channels, spec.height, spec.width, batch=1)
    except Exception as error:
        msg = f"{settings.source} takes two images but not one, which is what a device shows it: {_reason(error)}"
        raise ModelError(msg) from error


def smallest_size(module: nn.Module, channels: int, above: int) -> int | None:
    """The smallest square image over `above` pixels that a network takes; None when none of `SIZES` works."""
    low, works = above, next((size for size in SIZES if size > above and _runs(module, channels, size)), None)
    if works is None:
        return None
    low = max([above, *(size for size in SIZES if size < works)])
    while works - low > 1:
        middle = (low + works) // 2
        low, works = (low, middle) if _runs(module, channels, middle) else (middle, works)
    return works


@torch.no_grad()
def _forward(module: nn.Module, channels: int, height: int, width: int, *, batch: int = 2) -> object:
    return module(torch.zeros(batch, channels, height, width))


def _runs(module: nn.Module, channels: int, size: int) -> bool:
    try:
        _forward(module, channels, size, size)
    except Exception:
        return False
    return True


def _why_not(module: nn.Module, spec: InputSpec, settings: ModelSettings, error: Exception) -> str:
    problem = f"{settings.source} cannot take images of {spec.height}×{spec.width} pixels in {spec.channels} channels"
    works = smallest_size(module, spec.channels, max(spec.height, spec.width))
    if works is not None:
        return (
            f"{problem}: they are too small for it; it works from {works} pixels, so raise data.image_size to {works} or more"
        )
    stem = "; leave small_stem out, this network is laid out for its image size" if settings.small_stem else ""
    return f"{problem}: {_reason(error)}; change data.image_size or data.channels, or take another network{stem}"


def _reason(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
