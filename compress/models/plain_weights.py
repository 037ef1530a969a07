"""Conversion of weights that a network computes in each run to plain weights, which stages can prune, quantize and export."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import nn
from torch.nn.utils import parametrize, prune
from torch.nn.utils.spectral_norm import SpectralNorm, remove_spectral_norm
from torch.nn.utils.weight_norm import WeightNorm, remove_weight_norm

from compress.core.errors import ModelError, message_line
from compress.core.fact import Fact
from compress.core.language import gettext


def copy_with_plain_weights(module: nn.Module) -> tuple[nn.Module, tuple[Fact, ...]]:
    """A copy in eval mode on the CPU that computes the same from plain weights.

    Weight norm, spectral norm, masks of `torch.nn.utils.prune` and every parametrization of
    `torch.nn.utils.parametrize` are replaced by their weight.

    Returns:
        The copy, and a note for each weight that was replaced.

    Raises:
        ModelError: A weight cannot be replaced.
    """
    memo: dict[int, object] = {
        id(value): value.detach().clone()
        for part in module.modules()
        for value in vars(part).values()
        if isinstance(value, torch.Tensor) and not value.is_leaf
    }
    notes: list[Fact] = []
    try:
        # every reference to a parametrized part, also outside the module tree, refers to its plain copy
        plain = {path: _empty(part) for path, part in module.named_modules() if parametrize.is_parametrized(part)}
        memo |= {id(module.get_submodule(path)): copied for path, copied in plain.items()}
        network: nn.Module = copy.deepcopy(module, memo)
        for path, copied in plain.items():
            notes += _fill(copied, module.get_submodule(path), path, memo)
    except ModelError:
        raise
    except Exception as error:  # copying runs the network's code, which may raise any error
        msg = gettext(
            "the network cannot be copied: {kind}: {error}; keep computed tensors out of its attributes",
            kind=type(error).__name__,
            error=error,
        )
        raise ModelError(msg) from error
    network = network.cpu().eval()
    for name, part in list(network.named_modules()):
        for weight, hook in _hooks(part).items():
            path = _joined(name, weight)
            _remove_hook(part, weight, hook, path)
            notes.append(_note(path, hook))
    return network, tuple(notes)


def _empty(part: nn.Module) -> nn.Module:
    """A module without attributes, of the class that a parametrized module had before."""
    kind: type[nn.Module] = parametrize.type_before_parametrizations(part)
    return kind.__new__(kind)


def _fill(copied: nn.Module, part: nn.Module, path: str, memo: dict[int, object]) -> Iterator[Fact]:
    """Set the attributes of a parametrized module in an empty one, with its computed weights as plain weights."""
    attributes = vars(part) | {"_modules": {name: child for name, child in part._modules.items() if name != "parametrizations"}}
    vars(copied).update(copy.deepcopy(attributes, memo))
    assert isinstance(part.parametrizations, nn.ModuleDict)  # noqa: S101  # torch's own structure
    for name, steps in part.parametrizations.items():
        assert isinstance(steps, nn.ModuleList)  # noqa: S101  # likewise
        try:
            # in eval mode, since spectral norm changes its buffers in training mode
            value = copy.deepcopy(steps, memo).cpu().eval()().detach().clone()
        except Exception as error:  # parametrizations are the user's code, which may raise any error
            raise _irreplaceable(_joined(path, name), steps[0], error) from error
        if any(parameter.startswith("original") for parameter in steps._parameters):
            trains = any(parameter.requires_grad for parameter in steps.parameters())
            copied.register_parameter(name, nn.Parameter(value, requires_grad=trains))
        else:
            copied.register_buffer(name, value)
        yield _note(_joined(path, name), steps[0])


def _hooks(part: nn.Module) -> dict[str, object]:
    """The hooks that compute weights of a module, by the weight's name."""
    weights: dict[str, object] = {}
    for hook in part._forward_pre_hooks.values():  # torch has no public list of hooks
        if isinstance(hook, (WeightNorm, SpectralNorm)):
            weights[hook.name] = hook
        elif isinstance(hook, prune.BasePruningMethod):
            weights[str(hook._tensor_name)] = hook  # the method has no public name for it
    return weights


def _remove_hook(part: nn.Module, weight: str, hook: object, path: str) -> None:
    trained = {id(parameter): parameter.requires_grad for parameter in part.parameters()}
    try:
        match hook:
            case WeightNorm():
                remove_weight_norm(part, weight)
            case SpectralNorm():
                remove_spectral_norm(part, weight)
            case _:
                prune.remove(part, weight)  # type: ignore[no-untyped-call]
    except Exception as error:
        raise _irreplaceable(path, hook, error) from error
    for parameter in part.parameters():
        parameter.requires_grad_(trained.get(id(parameter), any(trained.values())))


def _irreplaceable(path: str, origin: object, error: Exception) -> ModelError:
    return ModelError(
        gettext(
            "{path} is computed by {name} and cannot be written as a plain weight: {error}; remove it first",
            path=path,
            name=_name(origin),
            error=message_line(error),
        )
    )


def _note(path: str, origin: object) -> Fact:
    return Fact.of("models.plain_weight", path, origin=_name(origin))


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _name(origin: object) -> str:
    names = {WeightNorm: gettext("weight norm"), SpectralNorm: gettext("spectral norm")}
    return names.get(type(origin), type(origin).__name__.lstrip("_"))
