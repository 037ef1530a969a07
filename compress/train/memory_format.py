"""Device and memory format of a network."""

from __future__ import annotations

import torch
from torch import nn


def memory_format_for(module: nn.Module, device: torch.device) -> torch.memory_format:
    """Channels last for networks with 2-d convolutions on CPU and CUDA; else the format is not changed.

    On two CPU cores a training step at 64 × 64 took 0.25 s instead of 0.37 s (MobileNetV2) and 1.22 s instead of 1.37 s
    (ResNet-50).
    """
    has_conv2d = any(isinstance(layer, nn.Conv2d) for layer in module.modules())
    at_most_4d = all(tensor.ndim < 5 for tensor in module.state_dict().values())
    return torch.channels_last if has_conv2d and at_most_4d and device.type in ("cpu", "cuda") else torch.preserve_format


def to_device(module: nn.Module, device: torch.device) -> nn.Module:
    """Move a module, in place, to a device and into the memory format that is fast on it."""
    return module.to(device).to(memory_format=memory_format_for(module, device))


def to_cpu(module: nn.Module) -> nn.Module:
    """Move a module, in place, to the CPU in contiguous format and eval mode."""
    is_channels_last = memory_format_for(module, torch.device("cpu")) == torch.channels_last
    return module.to("cpu").to(memory_format=torch.contiguous_format if is_channels_last else torch.preserve_format).eval()
