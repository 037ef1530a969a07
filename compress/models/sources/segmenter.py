"""`segmenter:NAME`: small networks for segmentation, with fresh weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from compress.core.entries import integer
from compress.core.errors import ModelError, nearest
from compress.core.language import gettext
from compress.core.network_spec import NetworkSpec
from compress.models.factory import UnfittedModel
from compress.models.segmenters import SmallSegmenter
from compress.models.settings import ModelSettings

if TYPE_CHECKING:
    from compress.tasks.base import Task

SEGMENTERS: Mapping[str, Callable[..., nn.Module]] = {"small": SmallSegmenter}


def build(name: str, settings: ModelSettings, spec: NetworkSpec, *, task: Task, base: Path, trust_code: bool) -> UnfittedModel:  # noqa: ARG001
    """Build a network for segmentation.

    Raises:
        ModelError: Unknown name, or arguments that it does not take.
    """
    if name not in SEGMENTERS:
        msg = gettext("there is no segmenter {name!r}: {hint}", name=name, hint=nearest(name, SEGMENTERS))
        raise ModelError(msg)
    arguments: dict[str, object] = {"num_classes": len(spec.classes), "in_channels": spec.channels} | settings.args
    try:
        module = SEGMENTERS[name](**arguments)
    except (TypeError, ValueError, RuntimeError) as error:
        msg = gettext(
            "segmenter:{name} cannot be built with {arguments}: {error}; see model.args",
            name=name,
            arguments=arguments,
            error=error,
        )
        raise ModelError(msg) from error
    return UnfittedModel(module, integer(arguments, "num_classes"))
