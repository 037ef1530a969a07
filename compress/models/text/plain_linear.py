"""GPT-2's layers as ordinary linear layers, and back for a folder of transformers.

transformers computes y = x W + b with W (inputs, outputs) in a class `Conv1D` of its own, which no method of pruning or
quantization knows. A linear layer with Wᵀ computes the same.
"""

from __future__ import annotations

import torch
from torch import nn

_KIND = "transformers.pytorch_utils.Conv1D"


def to_linear(network: nn.Module) -> nn.Module:
    """Replace every `Conv1D` of a network by a linear layer with the transposed weight, in place.

    Args:
        network: A network of transformers.

    Returns:
        The same network.
    """
    for part in list(network.modules()):
        for name, child in list(part.named_children()):
            if f"{type(child).__module__}.{type(child).__qualname__}" == _KIND:
                setattr(part, name, _linear(child.get_parameter("weight"), child.get_parameter("bias")))
    return network


def to_conv1d(network: nn.Module, reference: nn.Module) -> None:
    """Undo `to_linear` in place, where a network of transformers' own has a `Conv1D`.

    Args:
        network: A network after `to_linear`, with the submodules of the reference.
        reference: A network of transformers' own, newly built.
    """
    for name, other in reference.named_modules():
        if f"{type(other).__module__}.{type(other).__qualname__}" != _KIND:
            continue
        layer = network.get_submodule(name)
        kind = type(other)
        back = kind(len(layer.get_parameter("weight")), layer.get_parameter("weight").shape[1])
        back.weight = nn.Parameter(layer.get_parameter("weight").detach().T.contiguous())
        back.bias = nn.Parameter(layer.get_parameter("bias").detach().clone())
        network.set_submodule(name, back)


def _linear(weight: torch.Tensor, bias: torch.Tensor) -> nn.Linear:
    inputs, outputs = weight.shape
    layer = nn.Linear(inputs, outputs, device="meta")
    layer.weight = nn.Parameter(weight.detach().T.contiguous(), requires_grad=weight.requires_grad)
    layer.bias = nn.Parameter(bias.detach(), requires_grad=bias.requires_grad)
    return layer
