"""`timm:NAME`: any network of PyTorch Image Models, an optional package. Pretrained tags stand in the name."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from compress.core.entries import integer
from compress.core.errors import MissingPackageError, ModelError, nearest
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.network_spec import NetworkSpec
from compress.models.factory import UnfittedModel
from compress.models.settings import ModelSettings
from compress.tasks.base import Task


def build(
    name: str,
    settings: ModelSettings,
    spec: NetworkSpec,
    *,
    task: Task,  # noqa: ARG001
    base: Path,  # noqa: ARG001
    trust_code: bool,  # noqa: ARG001
) -> UnfittedModel:
    """Build a network of timm; it fits head, channels and image size by itself, pretrained or not.

    Raises:
        MissingPackageError: timm is not installed.
        ModelError: Unknown network, weights other than `DEFAULT`, unfit arguments, no download.
    """
    try:
        import timm
    except ImportError as error:
        raise MissingPackageError("timm", "timm", gettext("the network timm:{name}", name=name)) from error
    if not timm.is_model(name):
        msg = gettext(
            "timm has no network {name!r}: {hint}", name=name, hint=nearest(name.partition(".")[0].lower(), timm.list_models())
        )
        raise ModelError(msg)
    if settings.weights not in (None, "DEFAULT"):
        msg = gettext(
            "timm weights are DEFAULT or left out, not {weights!r}; a tag stands in the name: timm:{name}.a1_in1k",
            weights=settings.weights,
            name=name,
        )
        raise ModelError(msg)
    arguments: dict[str, object] = {"in_chans": spec.channels}
    if (size := spec.known_head_size) is not None:
        arguments["num_classes"] = size
    config = timm.get_pretrained_cfg(name)
    if config is not None and config.fixed_input_size:
        arguments["img_size"] = (spec.height, spec.width)
    arguments |= settings.args
    module = _created(name, settings.weights is not None, arguments)
    notes = (Fact.of("models.fitted_by_timm", name),) * (settings.weights is not None)
    return UnfittedModel(module, integer(arguments, "num_classes") if "num_classes" in arguments else 0, notes)


def _created(name: str, pretrained: bool, arguments: dict[str, object]) -> nn.Module:
    import timm

    try:
        module: nn.Module = timm.create_model(name, pretrained=pretrained, **arguments)
    except OSError as error:
        msg = gettext(
            "cannot download the weights of timm:{name} ({error}); without a network, use source: 'file:PATH' with "
            "architecture: 'timm:{name}', or leave `weights` out for fresh ones",
            name=name,
            error=error,
        )
        raise ModelError(msg) from error
    except (TypeError, ValueError, RuntimeError, AssertionError) as error:
        msg = gettext(
            "timm:{name} cannot be built with {arguments}: {error}; see model.args and data.image_size",
            name=name,
            arguments=arguments,
            error=error,
        )
        raise ModelError(msg) from error
    return module
