"""Low-rank adapters in a training, by the package peft (Hu et al. 2021, LoRA, arXiv:2106.09685).

    W = W_0 + (α / r) B A,   A (r, D) random, B (K, r) zero at first

W_0 is not trained. After the training B A is added to it, so that the network has its own layers again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import torch
from torch import nn

from compress.core.errors import MissingPackageError, TrainingError, nearest
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.train.settings import Lora

if TYPE_CHECKING:
    from peft.tuners.lora import LoraModel

PLAIN = (nn.Linear, nn.Embedding, nn.Conv1d, nn.Conv2d)
"""Layers to whose results peft adds those of an adapter."""
MARK = "peft_config"


class Adapters:
    """Adapters in a network in training.

    Args:
        tuner: peft's module around the network.
        trained: Whether each parameter of the network was trained before, by name.
        fact: What was added.
    """

    def __init__(self, tuner: LoraModel, trained: dict[str, bool], fact: Fact) -> None:
        self._tuner, self._trained, self.fact = tuner, trained, fact

    def merge(self) -> None:
        """Add the adapters to the weights and remove them, in place."""
        network: nn.Module = self._tuner.model
        self._tuner.merge_and_unload()
        vars(network).pop(MARK, None)
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(self._trained.get(name, True))


def add_adapters(module: nn.Module, settings: Lora, seed: int) -> Adapters:
    """Put adapters into a network, in place; what it computes does not change yet.

    Args:
        module: The network.
        settings: Rank, factor, targets.
        seed: Of A; the global random state is not changed.

    Raises:
        MissingPackageError: peft is not installed.
        TrainingError: No layer matches, or a layer that is named cannot have an adapter.
    """
    try:
        from peft import LoraConfig
        from peft.tuners.lora import LoraModel
    except ImportError as error:
        raise MissingPackageError("peft", "lora", "lora") from error
    layers, weights = _targets(module, settings)
    if weights and settings.dropout:
        msg = gettext("lora.dropout is for layers, and {name} is a weight in a quantized graph; leave it out", name=weights[0])
        raise TrainingError(msg)
    trained = {name: parameter.requires_grad for name, parameter in module.named_parameters()}
    free = {id(parameter) for parameter in module.parameters() if parameter.requires_grad}
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.factor,
        lora_dropout=settings.dropout,
        target_modules="|".join(map(re.escape, layers)) if layers else None,
        target_parameters=[f"{name}.weight" for name in weights] or None,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tuner = LoraModel(module, config, "default")
    for name, part in module.named_modules():
        if _is_trained_whole(name, part, settings):
            for parameter in part.parameters():
                parameter.requires_grad_(id(parameter) in free)
    count = sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
    total = sum(parameter.numel() for parameter in module.parameters())
    fact = Fact.of("train.lora", layers=len(layers) + len(weights), rank=settings.rank, trained=count, total=total - count)
    return Adapters(tuner, trained, fact)


def _is_trained_whole(name: str, part: nn.Module, settings: Lora) -> bool:
    return bool(getattr(part, "trains_beside_adapters", False)) or any(fnmatchcase(name, glob) for glob in settings.whole)


def _targets(module: nn.Module, settings: Lora) -> tuple[list[str], list[str]]:
    """Names of the layers, and of the modules whose weight gets an adapter.

    Raises:
        TrainingError: A glob matches no layer that can have an adapter.
    """
    possible = dict(_possible(module))
    chosen: set[str] = set()
    for glob in settings.targets:
        matched = {name for name in possible if fnmatchcase(name, glob) or fnmatchcase(name.rpartition(".")[2], glob)}
        if not matched:
            known = {name.rpartition(".")[2] for name in possible} | (set() if len(possible) > 20 else set(possible))
            msg = gettext(
                "lora.targets: {glob!r} names no layer that can have an adapter, which are linear layers, convolutions and "
                "embeddings with weights of their own; {hint}",
                glob=glob,
                hint=nearest(glob, known),
            )
            raise TrainingError(msg)
        chosen |= matched
    chosen -= {name for name in chosen if any(fnmatchcase(name, glob) for glob in settings.whole)}
    names = [name for name in possible if name in chosen]
    return [name for name in names if possible[name]], [name for name in names if not possible[name]]


def _possible(module: nn.Module) -> Iterator[tuple[str, bool]]:
    """Layers that can have an adapter, and whether as a layer; else their weight of two axes has one.

    Layers that share a weight have none: an adapter would be added to the other as well. Frozen ones stay as they are.
    """
    owners: dict[int, int] = {}
    for part in module.modules():
        weight = getattr(part, "weight", None)
        if isinstance(weight, nn.Parameter):
            owners[id(weight)] = owners.get(id(weight), 0) + 1
    for name, part in module.named_modules():
        weight = getattr(part, "weight", None)
        if not name or not isinstance(weight, nn.Parameter) or owners[id(weight)] > 1 or not weight.requires_grad:
            continue
        if type(part) in PLAIN and (not isinstance(part, nn.Conv1d | nn.Conv2d) or part.groups == 1):
            yield name, True
        elif weight.ndim == 2 and not isinstance(part, PLAIN):
            yield name, False
