"""`detector:NAME`: detectors with plain tensors in and out, and fresh weights: an own small one, and torchvision's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from compress.core.network_spec import NetworkSpec
from compress.models.detectors import SmallDetector
from compress.models.factory import UnfittedModel
from compress.models.settings import ModelSettings
from compress.models.sources.torchvision_detection import BUILDERS, build_detector
from compress.models.sources.torchvision_two_stage import small_two_stage

if TYPE_CHECKING:
    from compress.tasks.base import Task

DETECTORS: Mapping[str, Callable[..., nn.Module]] = {"small": SmallDetector, "small_two_stage": small_two_stage, **BUILDERS}


def build(
    name: str,
    settings: ModelSettings,
    spec: NetworkSpec,
    *,
    task: Task | None = None,  # noqa: ARG001
    base: Path | None = None,  # noqa: ARG001
    trust_code: bool = False,  # noqa: ARG001
) -> UnfittedModel:
    """Build a detector for the data's classes and image size.

    Raises:
        ModelError: Unknown or refused name, weights, or arguments that do not fit.
    """
    return build_detector(name, settings, spec, "detector", DETECTORS)
