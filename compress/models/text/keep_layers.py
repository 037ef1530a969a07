"""A shallower text encoder or decoder: some of its layers, with their weights, as the start of a student.

Sanh et al. 2019, DistilBERT, arXiv:1910.01108, section 3: the student takes one layer out of two from the teacher, with its
embeddings and its head. All layers of these encoders have equal shapes, and what one computes does not depend on its place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from compress.core.errors import ModelError
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.models.text.layer_choice import KeptLayers, count_kept, kept_layers

if TYPE_CHECKING:
    from transformers import PreTrainedModel

LAYERS = {
    "bert": "encoder.layer",
    "camembert": "encoder.layer",
    "deberta": "encoder.layer",
    "deberta-v2": "encoder.layer",
    "distilbert": "transformer.layer",
    "electra": "encoder.layer",
    "ernie": "encoder.layer",
    "gpt2": "h",
    "llama": "layers",
    "mistral": "layers",
    "mixtral": "layers",
    "mpnet": "encoder.layer",
    "roberta": "encoder.layer",
    "xlm-roberta": "encoder.layer",
}
"""Path of the list of layers in the body of a network, by model type of transformers."""
SHARED = ("albert",)
"""Model types that run the same layer again and again."""


def keep_layers(module: nn.Module, choice: KeptLayers, name: str) -> tuple[Fact, ...]:
    """Keep some layers of the encoder in a network, in place; its configuration says the new number.

    Args:
        module: A network of transformers, or one with such a network in it.
        choice: The layers to keep.
        name: Source of the network, for messages.

    Returns:
        A note on the layers.

    Raises:
        ModelError: It has no such encoder, its layers share their weights, or a layer does not exist.
    """
    network = find_pretrained(module)
    if network is None:
        msg = gettext(
            "keep_layers chooses layers of a text network of transformers, and {name} has none; leave keep_layers out",
            name=name,
        )
        raise ModelError(msg)
    owner, leaf = _place(network, choice, name)
    layers = owner.get_submodule(leaf)
    assert isinstance(layers, nn.ModuleList)  # noqa: S101  # as `LAYERS` has it
    depth, kept = len(layers), kept_layers(choice, len(layers), name)
    for key, value in vars(owner).items():  # a number of layers that the encoder has itself
        if key.endswith("layers") and value == depth:
            setattr(owner, key, len(kept))
    setattr(owner, leaf, nn.ModuleList(layers[index] for index in kept))
    for place, index in enumerate(kept):
        for part in layers[index].modules():
            if getattr(part, "layer_idx", None) == index:
                part.layer_idx = place  # type: ignore[assignment]
    network.config.num_hidden_layers = len(kept)
    return (Fact.of("models.layers_kept", name, kept=kept, depth=depth),)


def find_pretrained(module: nn.Module) -> PreTrainedModel | None:
    """The outermost network of transformers in a module; None where there is none."""
    if not any(type(part).__module__.startswith("transformers.") for part in module.modules()):
        return None
    from transformers import PreTrainedModel

    return next((part for part in module.modules() if isinstance(part, PreTrainedModel)), None)


def _place(network: PreTrainedModel, choice: KeptLayers, name: str) -> tuple[nn.Module, str]:
    """Owner of the list of layers, and its name there."""
    kind = str(network.config.model_type)
    if kind in SHARED:
        msg = gettext(
            "keep_layers cannot choose among the layers of {name}: {kind} runs one set of weights {depth} times, so all "
            "its layers are equal; to run it fewer times, set args: {{num_hidden_layers: {count}}}",
            name=name,
            kind=kind,
            depth=network.config.num_hidden_layers,
            count=count_kept(choice),
        )
        raise ModelError(msg)
    if kind not in LAYERS:
        msg = gettext(
            "keep_layers knows the layers of {known}; {name} is of type {kind}, so leave keep_layers out",
            known=", ".join(LAYERS),
            name=name,
            kind=kind,
        )
        raise ModelError(msg)
    owner, _, leaf = LAYERS[kind].rpartition(".")
    body = network.base_model
    assert isinstance(body, nn.Module)  # noqa: S101  # so transformers defines it
    return body.get_submodule(owner), leaf
