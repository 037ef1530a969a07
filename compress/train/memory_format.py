"""Where a network's weights lie: device and memory layout."""

from __future__ import annotations

import torch
from torch import nn


def memory_format_for(module: nn.Module, device: torch.device) -> torch.memory_format:
    """Channels last for networks with 2-d convolutions on CPU and CUDA, else as it is.

    On two CPU cores a training step of MobileNetV2 at 64 × 64 then took 0.25 s for 0.37 s, one of ResNet-50 1.22 s for 1.37 s.
    """
    images = any(isinstance(part, nn.Conv2d) for part in module.modules())
    possible = all(tensor.ndim < 5 for tensor in module.state_dict().values())
    return torch.channels_last if images and possible and device.type in ("cpu", "cuda") else torch.preserve_format


def to_device(module: nn.Module, device: torch.device) -> nn.Module:
    """Move a module, in place, to a device and into the layout that is fast there."""
    return module.to(device).to(memory_format=memory_format_for(module, device))


def to_cpu(module: nn.Module) -> nn.Module:
    """Move a module, in place, to the CPU and into the usual layout, in eval mode."""
    plain = memory_format_for(module, torch.device("cpu")) == torch.channels_last
    return module.to("cpu").to(memory_format=torch.contiguous_format if plain else torch.preserve_format).eval()
