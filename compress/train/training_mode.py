"""Check of the outputs of a network in training mode, in which some networks return auxiliary outputs besides the logits."""

from __future__ import annotations

import copy

import torch
from torch import nn

from compress.core.errors import ModelError, TrainingError
from compress.core.language import gettext
from compress.core.network_spec import NetworkSpec
from compress.tasks.base import Task
from compress.tasks.output_names import name_outputs


def check_training_mode(network: nn.Module, spec: NetworkSpec, task: Task) -> int:
    """Run a copy of a network on two random samples in training mode; the random state is not changed.

    Returns:
        Number of auxiliary outputs; they have no loss.

    Raises:
        TrainingError: The network fails, or its outputs differ in name or shape from those in eval mode.
    """
    example = tuple(spec.signature.example(2).values())
    with torch.random.fork_rng(devices=[]):
        try:
            outputs = copy.deepcopy(network).cpu().train()(*example)
        except Exception as error:  # any error of the network's code
            msg = gettext(
                "the network runs in eval mode but not in training mode: {kind}: {error}; "
                "correct its code, or use another network",
                kind=type(error).__name__,
                error=error,
            )
            raise TrainingError(msg) from error
    try:
        named = name_outputs(outputs, task.output_names)
    except ModelError as error:
        msg = gettext("in training mode {error}", error=error)
        raise TrainingError(msg) from error
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        evaluated = task.forward(copy.deepcopy(network).cpu().eval(), spec.signature.example(2))
    for name, values in named.items():
        if values.shape != evaluated[name].shape:
            shapes = gettext(
                "{shape} for two samples, and {shape_2} in eval mode",
                shape=tuple(values.shape),
                shape_2=tuple(evaluated[name].shape),
            )
            msg = gettext(
                "in training mode the network returns {name} of shape {shapes}; both must be equal", name=name, shapes=shapes
            )
            raise TrainingError(msg)
    return max(0, len(outputs) - len(named)) if isinstance(outputs, (tuple, list)) else 0
