"""The parts of a text network that the `model:` block of a recipe leaves out."""

from __future__ import annotations

from torch import nn

from compress.core.fact import Fact
from compress.models.settings import ModelSettings
from compress.models.text.factorized_embeddings import factorize_embeddings
from compress.models.text.keep_layers import keep_layers


def reduce_text(module: nn.Module, settings: ModelSettings, name: str) -> tuple[Fact, ...]:
    """Keep the chosen layers and factorize the embeddings of a network with its weights, in place.

    Args:
        module: The network.
        settings: Its block of the recipe.
        name: Source of the network, for messages.

    Returns:
        Notes.

    Raises:
        ModelError: It has no such parts, or the settings do not fit them.
    """
    notes: tuple[Fact, ...] = ()
    if settings.keep_layers is not None:
        notes += keep_layers(module, settings.keep_layers, name)
    if settings.factorize_embeddings is not None:
        notes += factorize_embeddings(module, settings.factorize_embeddings, name)
    return notes
