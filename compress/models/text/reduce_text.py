"""The parts of a text network that the `model:` block of a recipe leaves out."""

from __future__ import annotations

from torch import nn

from compress.core.fact import Fact
from compress.core.network_spec import NetworkSpec
from compress.models.settings import ModelSettings
from compress.models.text.factorized_embeddings import factorize_embeddings
from compress.models.text.fit_vocabulary import drop_unused_rows, fit_vocabulary
from compress.models.text.keep_layers import keep_layers


def reduce_text(module: nn.Module, settings: ModelSettings, spec: NetworkSpec, name: str) -> tuple[nn.Module, tuple[Fact, ...]]:
    """Keep the chosen layers and tokens of a network with its weights, and factorize its embeddings, in place.

    Args:
        module: The network.
        settings: Its block of the recipe.
        spec: Of the data, whose tokenizer may be pruned.
        name: Source of the network, for messages.

    Returns:
        The network, and notes.

    Raises:
        ModelError: It has no such parts, or the settings do not fit them.
    """
    notes: tuple[Fact, ...] = ()
    if settings.keep_layers is not None:
        notes += keep_layers(module, settings.keep_layers, name)
    if spec.text is not None and spec.text.kept is not None:
        module, fitted = fit_vocabulary(module, spec.text.kept, name, whole=settings.whole_vocabulary)
        notes += fitted
    elif spec.text is not None:
        notes += drop_unused_rows(module, spec, name)
    if settings.factorize_embeddings is not None:
        notes += factorize_embeddings(module, settings.factorize_embeddings, name)
    return module, notes
