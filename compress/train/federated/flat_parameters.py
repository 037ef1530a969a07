"""What clients and server exchange: the trained parameters of a network, also as one vector, and its real buffers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def trained_parameters(module: nn.Module) -> list[nn.Parameter]:
    """The parameters that are trained."""
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def real_buffers(module: nn.Module) -> list[Tensor]:
    """The buffers of real numbers, such as moments of batch norm."""
    return [buffer for buffer in module.buffers() if buffer.is_floating_point()]


def flatten(parameters: Sequence[nn.Parameter]) -> Tensor:
    """The values of parameters, float32 (n,), on the CPU."""
    return torch.cat([parameter.detach().flatten().cpu() for parameter in parameters])


def split_flat(flat: Tensor, parameters: Sequence[nn.Parameter]) -> list[Tensor]:
    """The parts of a vector (n,) in the shapes of parameters."""
    sizes = [parameter.numel() for parameter in parameters]
    return [part.view_as(parameter) for part, parameter in zip(flat.split(sizes), parameters, strict=True)]  # type: ignore[no-untyped-call]


def set_flat(parameters: Sequence[nn.Parameter], flat: Tensor) -> None:
    """Give parameters the values of a vector (n,)."""
    for parameter, part in zip(parameters, split_flat(flat, parameters), strict=True):
        parameter.data.copy_(part)
