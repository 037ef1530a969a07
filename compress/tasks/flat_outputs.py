"""Outputs of a network in one tensor, for comparisons that do not depend on their meaning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass

import torch
from torch import Tensor, nn

from compress.core.errors import ModelError
from compress.core.language import gettext


def run_flat(module: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
    """Run a network and concatenate its outputs, see `flat_outputs`.

    Args:
        module: The network.
        inputs: Inputs in the order of its signature.
    """
    return flat_outputs(module(*inputs))


def all_outputs(module: nn.Module, inputs: tuple[Tensor, ...]) -> object:
    """Everything that a network computes with a layer, for the trace of its layers.

    By default these are its outputs. A network whose outputs do not depend on some layer by gradients, such as the first stage
    of a detector of two stages, has a method `all_outputs` that also returns what that layer gives.

    Args:
        module: The network.
        inputs: Inputs in the order of its signature.
    """
    run = getattr(module, "all_outputs", module)
    outputs: object = run(*inputs)
    return outputs


def flat_outputs(outputs: object) -> Tensor:
    """All float tensors among the outputs, concatenated, (N, M); a single tensor (N, K) is returned unchanged.

    Args:
        outputs: A tensor, or tensors in sequences, mappings and dataclasses.

    Raises:
        ModelError: There is no float tensor.
    """
    if isinstance(outputs, Tensor):
        return outputs.flatten(1) if outputs.ndim > 2 else outputs
    tensors = [tensor.flatten(1) if tensor.ndim > 1 else tensor[:, None] for tensor in _float_tensors(outputs)]
    if not tensors:
        msg = gettext(
            "the network returns {kind} without a float tensor; it must return tensors (N, …)", kind=type(outputs).__name__
        )
        raise ModelError(msg)
    return torch.cat(tensors, dim=1)


def _float_tensors(outputs: object) -> Iterator[Tensor]:
    if isinstance(outputs, Tensor):
        if outputs.is_floating_point() and outputs.ndim:
            yield outputs
    elif isinstance(outputs, Mapping):
        for value in outputs.values():
            yield from _float_tensors(value)
    elif isinstance(outputs, (tuple, list)):
        for value in outputs:
            yield from _float_tensors(value)
    elif is_dataclass(outputs):
        for entry in fields(outputs):
            yield from _float_tensors(getattr(outputs, entry.name))
