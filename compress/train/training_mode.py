"""Outputs of a network in training mode, where some return auxiliary outputs beside the logits."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from compress.core.errors import TrainingError
from compress.core.network_spec import NetworkSpec


def main_output(outputs: object) -> Tensor:
    """The logits (N, K): the output itself, or the first of several (Inception, GoogLeNet).

    Raises:
        TrainingError: Something else.
    """
    first = outputs[0] if isinstance(outputs, (tuple, list)) and outputs else outputs
    if isinstance(first, Tensor) and first.ndim == 2:
        return first
    kind = f"a tensor {tuple(first.shape)}" if isinstance(first, Tensor) else type(first).__name__
    msg = f"in training mode the network returns {kind}; it must return logits (N, K), or a tuple whose first entry they are"
    raise TrainingError(msg)


def check_training_mode(network: nn.Module, spec: NetworkSpec) -> int:
    """Run a copy of a network on two random images in training mode; the random state is left as it was.

    Returns:
        Number of auxiliary outputs, on which nothing is trained.

    Raises:
        TrainingError: It fails, or returns no logits (2, K).
    """
    with torch.random.fork_rng(devices=[]):
        try:
            outputs = copy.deepcopy(network).cpu().train()(torch.randn(2, *spec.shape))
        except Exception as error:  # whatever the network's own code raises
            msg = f"the network runs in eval mode but not in training mode: {type(error).__name__}: {error}"
            raise TrainingError(msg) from error
    expected = (2, len(spec.classes))
    if tuple(main_output(outputs).shape) != expected:
        msg = f"in training mode the network returns {tuple(main_output(outputs).shape)} for two images, not {expected}"
        raise TrainingError(msg)
    return len(outputs) - 1 if isinstance(outputs, (tuple, list)) else 0
