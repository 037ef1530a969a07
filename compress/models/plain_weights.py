"""Weights that a network computes before each run, written as plain weights, which stages can prune, quantize and export."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn.utils import parametrize, prune
from torch.nn.utils.spectral_norm import SpectralNorm, remove_spectral_norm
from torch.nn.utils.weight_norm import WeightNorm, remove_weight_norm

from compress.core.errors import ModelError
from compress.core.fact import Fact


def copy_with_plain_weights(module: nn.Module) -> tuple[nn.Module, tuple[Fact, ...]]:
    """A copy in eval mode on the CPU that computes the same from plain weights.

    Weight norm, spectral norm, masks of `torch.nn.utils.prune` and every parametrization of
    `torch.nn.utils.parametrize` are replaced by the weight that they give.

    Returns:
        The copy, and a note for each weight that was replaced.

    Raises:
        ModelError: A weight cannot be replaced.
    """
    computed = {
        id(value): value.detach().clone()
        for part in module.modules()
        for value in vars(part).values()
        if isinstance(value, torch.Tensor) and not value.is_leaf
    }
    try:
        network = copy.deepcopy(module, computed).cpu().eval()
    except Exception as error:  # copying runs the network's own code, which may raise anything
        msg = f"the network cannot be copied: {type(error).__name__}: {error}; keep computed tensors out of its attributes"
        raise ModelError(msg) from error
    notes: list[Fact] = []
    for name, part in list(network.named_modules()):
        for weight, origin in _computed_weights(part).items():
            path = f"{name}.{weight}" if name else weight
            _make_plain(part, weight, origin, path)
            notes.append(Fact.of("models.plain_weight", path, origin=_name(origin)))
    return network, tuple(notes)


def _computed_weights(part: nn.Module) -> dict[str, object]:
    """What computes a weight of a module, by the weight's name."""
    weights: dict[str, object] = {}
    if parametrize.is_parametrized(part):
        assert isinstance(part.parametrizations, nn.ModuleDict)  # noqa: S101  # torch's own structure
        for name, steps in part.parametrizations.items():
            assert isinstance(steps, nn.ModuleList)  # noqa: S101  # likewise
            weights[name] = steps[0]
    for hook in part._forward_pre_hooks.values():  # torch has no public list of hooks
        if isinstance(hook, (WeightNorm, SpectralNorm)):
            weights[hook.name] = hook
        elif isinstance(hook, prune.BasePruningMethod):
            weights[str(hook._tensor_name)] = hook  # the method has no public name for it
    return weights


def _make_plain(part: nn.Module, weight: str, origin: object, path: str) -> None:
    trained = {id(parameter): parameter.requires_grad for parameter in part.parameters()}
    part.requires_grad_()  # torch writes the weight of a frozen parametrization as a buffer
    try:
        match origin:
            case WeightNorm():
                remove_weight_norm(part, weight)
            case SpectralNorm():
                remove_spectral_norm(part, weight)
            case prune.BasePruningMethod():
                prune.remove(part, weight)  # type: ignore[no-untyped-call]
            case _:
                part.__class__ = _own_class(type(part))
                parametrize.remove_parametrizations(part, weight)
    except Exception as error:  # parametrizations are the user's own code, which may raise anything
        msg = f"{path} is computed by {_name(origin)} and cannot be written as a plain weight: {error}; remove it first"
        raise ModelError(msg) from error
    for parameter in part.parameters():
        parameter.requires_grad_(trained.get(id(parameter), any(trained.values())))


def _own_class(kind: type[nn.Module]) -> type[nn.Module]:
    """A copy of the class that torch made for a parametrized module: removing takes the weight's property out of the class."""
    own = {name: value for name, value in vars(kind).items() if name not in ("__dict__", "__weakref__")}
    return type(kind.__name__, kind.__bases__, own)


def _name(origin: object) -> str:
    names = {WeightNorm: "weight norm", SpectralNorm: "spectral norm"}
    return names.get(type(origin), type(origin).__name__.lstrip("_"))
