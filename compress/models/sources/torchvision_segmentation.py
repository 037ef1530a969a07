"""torchvision's segmentation networks, FCN, DeepLabV3 and LR-ASPP, as networks that return the logits alone."""

from __future__ import annotations

from torchvision import models
from torchvision.models import segmentation

from compress.core.entries import integer
from compress.core.errors import ModelError
from compress.core.language import gettext
from compress.core.network_spec import NetworkSpec
from compress.models.factory import UnfittedModel
from compress.models.segmenters import MapsToLogits
from compress.models.settings import ModelSettings
from compress.models.sources.torchvision_weights import download_weights, find_weights, normalisation_facts

AUXILIARY = "aux_classifier."
"""Weights of the auxiliary classifier, which is left out."""


def build(name: str, settings: ModelSettings, spec: NetworkSpec) -> UnfittedModel:
    """Build a segmentation network of torchvision, without weights of its backbone unless `args` name some.

    Raises:
        ModelError: Not a segmentation network, unknown weights or arguments, no download.
    """
    if settings.weights is None:
        arguments = {"num_classes": len(spec.classes), "weights_backbone": None} | settings.args
        return UnfittedModel(_construct(name, arguments), integer(arguments, "num_classes"))
    weights = str(settings.weights)
    entry = find_weights(name, weights)
    state = {key: value for key, value in download_weights(name, entry).items() if not key.startswith(AUXILIARY)}
    classes = len(entry.meta["categories"])
    module = _construct(name, {**settings.args, "num_classes": classes, "weights_backbone": None})
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        msg = gettext(
            "the weights {weights} of torchvision:{name} do not fit args {args}: {error}",
            weights=weights,
            name=name,
            args=settings.args,
            error=error,
        )
        raise ModelError(msg) from error
    return UnfittedModel(module, classes, normalisation_facts(entry, spec))


def _construct(name: str, arguments: dict[str, object]) -> MapsToLogits:
    try:
        return MapsToLogits(models.get_model_builder(name)(**arguments))
    except OSError as error:  # URLError: weights of the backbone
        msg = gettext(
            "cannot download what torchvision:{name} with {arguments} needs ({error}); leave weights_backbone out",
            name=name,
            arguments=arguments,
            error=error,
        )
        raise ModelError(msg) from error
    except (TypeError, ValueError, RuntimeError, AssertionError) as error:
        msg = gettext(
            "torchvision:{name} cannot be built with {arguments}: {error}; see model.args",
            name=name,
            arguments=arguments,
            error=error,
        )
        raise ModelError(msg) from error


NETWORKS = segmentation
"""The module whose networks these are."""
