"""Pretrained weights of torchvision: the download, and the normalisation that they were trained with."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torchvision import models

from compress.core.errors import ModelError, nearest
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.network_spec import NetworkSpec


def find_weights(name: str, weights: str) -> models.WeightsEnum:
    """An entry of the weights that torchvision offers for a network.

    Args:
        name: Of the network.
        weights: Of the entry, such as `DEFAULT`.

    Raises:
        ModelError: There is none of that name.
    """
    choices = models.get_model_weights(name)
    if weights not in choices.__members__:
        msg = gettext(
            "torchvision:{name} has no weights {weights!r}: {hint}",
            name=name,
            weights=weights,
            hint=nearest(weights.upper(), choices.__members__),
        )
        raise ModelError(msg)
    return choices[weights]


def download_weights(name: str, entry: models.WeightsEnum, *, arguments: str | None = None) -> dict[str, Tensor]:
    """The state dict of an entry of torchvision's weights.

    Args:
        name: Of the network.
        entry: Of the weights.
        arguments: What the network needs besides its name where the weights are given as a file; None for its classes.

    Raises:
        ModelError: No network, or a broken download.
    """
    try:
        state: dict[str, Tensor] = entry.get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError) as error:  # URLError is an OSError; a broken download is a RuntimeError
        msg = gettext(
            "cannot download the weights of torchvision:{name} ({error}); without a network, fetch {url} elsewhere and "
            "use source: 'file:PATH' with architecture: 'torchvision:{name}' and {arguments}, or leave `weights` out for "
            "fresh ones",
            name=name,
            error=error,
            url=entry.url,
            arguments=arguments or f"args: {{num_classes: {len(entry.meta['categories'])}}}",
        )
        raise ModelError(msg) from error
    return state


def normalisation_facts(entry: models.WeightsEnum, spec: NetworkSpec) -> tuple[Fact, ...]:
    """A fact where the weights were trained on images that were normalised otherwise."""
    preset = entry.transforms()
    return other_normalisation(preset.mean, preset.std, spec)


def other_normalisation(mean: Sequence[float], std: Sequence[float], spec: NetworkSpec) -> tuple[Fact, ...]:
    """A fact where images that were normalised by this mean and standard deviation are not those of the data."""
    mean, std = tuple(mean), tuple(std)
    if spec.channels == len(mean) and (spec.mean, spec.std) == (mean, std):
        return ()
    return (Fact.of("models.normalised_otherwise", mean=mean, std=std, data_mean=spec.mean, data_std=spec.std),)
