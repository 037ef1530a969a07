"""Everything about a caller's network and the process that a stage must leave as it was."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from torch import nn

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def network_state(network: nn.Module) -> dict[str, Any]:
    """Values, flags, gradients, devices, modes, hooks and attributes, each under a name; compare with `==`."""
    tensors = dict(network.named_parameters(remove_duplicate=False)) | dict(network.named_buffers(remove_duplicate=False))
    return {
        "values": {name: (id(tensor), _bytes(tensor)) for name, tensor in tensors.items()},
        "requires_grad": {name: tensor.requires_grad for name, tensor in tensors.items()},
        "gradients": {name: None if tensor.grad is None else _bytes(tensor.grad) for name, tensor in tensors.items()},
        "devices": {name: (tensor.device, tensor.dtype, tensor.stride()) for name, tensor in tensors.items()},
        "modes": {name: part.training for name, part in network.named_modules()},
        "hooks": {
            (name, kind): tuple(getattr(part, kind).values()) for name, part in network.named_modules() for kind in HOOKS
        },
        "attributes": {name: (type(part), tuple(vars(part))) for name, part in network.named_modules()},
    }


def process_state() -> dict[str, Any]:
    """Random generators and switches of torch."""
    keys, position = np.random.get_state()[1:3]  # noqa: NPY002  # the generator that users' code may share
    return {
        "random": random.getstate(),
        "numpy": (keys.tobytes(), position),
        "torch": _bytes(torch.get_rng_state()),
        "grad": torch.is_grad_enabled(),
        "dtype": torch.get_default_dtype(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "fast path": torch.backends.mha.get_fastpath_enabled(),
        "threads": torch.get_num_threads(),
    }


def _bytes(tensor: torch.Tensor) -> bytes:
    return tensor.detach().contiguous().numpy().tobytes()
