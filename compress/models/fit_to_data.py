"""Adaptation of the first and last layer of a network to the data.

Channels. A convolution W (O, I, h, w) for I channels becomes one for c channels:

    W'[:, j] = W[:, j mod I] · I / c          for c > 1,        W'[:, 0] = Σ_i W[:, i]        for c = 1,

so that a grey image gives the same output as this image repeated over I channels.

Classes. The last linear or convolutional layer with the old number of outputs is replaced by a new one.
"""

from __future__ import annotations

import torch
from torch import nn

from compress.core.errors import ModelError
from compress.core.fact import Fact
from compress.core.language import gettext


def first_convolution(module: nn.Module) -> tuple[str, nn.Conv2d] | None:
    """Name and layer of the first convolution, by order of definition, or None."""
    return next(((name, layer) for name, layer in module.named_modules() if isinstance(layer, nn.Conv2d)), None)


def last_layer(module: nn.Module, classes: int) -> tuple[str, nn.Linear | nn.Conv2d] | None:
    """Name and layer of the last linear or convolutional layer with `classes` outputs, or None."""
    layers = [
        (name, layer)
        for name, layer in module.named_modules()
        if (isinstance(layer, nn.Linear) and layer.out_features == classes)
        or (isinstance(layer, nn.Conv2d) and layer.out_channels == classes)
    ]
    return layers[-1] if layers else None


def fit_channels(module: nn.Module, channels: int) -> list[Fact]:
    """Adapt the first convolution to `channels` channels, in place; returns a note.

    A depthwise or grouped first convolution is not changed.
    """
    first = first_convolution(module)
    if first is None or first[1].in_channels == channels or first[1].groups != 1:
        return []
    name, layer = first
    old = layer.in_channels
    weight = layer.weight.detach()
    repeated = weight[:, torch.arange(channels) % old] * (old / channels)
    weight = weight.sum(dim=1, keepdim=True) if channels == 1 else repeated
    layer.in_channels = channels
    layer.weight = nn.Parameter(weight.contiguous(), requires_grad=layer.weight.requires_grad)
    if getattr(module, "transform_input", False) is True:  # Inception and GoogLeNet normalise three channels themselves
        module.transform_input = False  # type: ignore[assignment]
    return [Fact.of("models.channels_fitted", name, before=old, after=channels)]


def fit_classes(module: nn.Module, old: int, classes: int) -> list[Fact]:
    """Replace the head by a new one with `classes` outputs, in place; returns a note.

    Args:
        module: The network.
        old: Current number of outputs; if it equals `classes`, nothing is changed.
        classes: Required number of outputs.

    Raises:
        ModelError: There is no layer with `old` outputs.
    """
    if old == classes:
        return []
    last = last_layer(module, old)
    if last is None:
        msg = gettext(
            "class-count mismatch: the data has {classes} classes, and no layer of the network has {old} outputs to replace; "
            "check args.num_classes",
            classes=classes,
            old=old,
        )
        raise ModelError(msg)
    name, layer = last
    owner, _, leaf = name.rpartition(".")
    setattr(module.get_submodule(owner), leaf, _fresh(layer, classes))
    if isinstance(getattr(module, "num_classes", None), int):
        module.num_classes = classes  # type: ignore[assignment]
    return [Fact.of("models.classes_fitted", name, before=old, after=classes)]


def _fresh(layer: nn.Linear | nn.Conv2d, outputs: int) -> nn.Module:
    bias = layer.bias is not None
    if isinstance(layer, nn.Linear):
        return nn.Linear(layer.in_features, outputs, bias=bias)
    (height, width), (down, right) = layer.kernel_size, layer.stride
    around = layer.padding if isinstance(layer.padding, str) else (layer.padding[0], layer.padding[1])
    return nn.Conv2d(layer.in_channels, outputs, (height, width), (down, right), around, bias=bias)
