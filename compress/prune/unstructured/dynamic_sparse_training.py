"""Dynamic sparse training: drop the weakest connections and grow others while a sparse network trains.

SET grows at random: Mocanu et al. 2018, "Scalable training of artificial neural networks with adaptive sparse connectivity",
arXiv:1707.04780. RigL grows where the dense gradient is largest: Evci et al. 2020, "Rigging the Lottery", arXiv:1911.11134.
Both use the schedule of RigL. The number of connections of a layer is that after the first pruning step; the papers use
`ranking: erk` or `local`, with `importance: random` for an untrained network.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from compress.core.entries import State, integer
from compress.core.record import Curve
from compress.train.checkpoints import tensors_of


@dataclass(frozen=True)
class DropGrowSchedule:
    """Steps at which connections are exchanged, and the fraction of them.

    Attributes:
        every: ΔT, optimizer steps between two exchanges.
        alpha: α, initial fraction of the connections of a layer, in (0, 1).
        end: T_end, first step without exchanges.
    """

    every: int
    alpha: float
    end: int

    def fraction(self, t: int) -> float:
        """Fraction to exchange after optimizer step t: α/2 · (1 + cos(π t / T_end)) every ΔT steps before T_end, else 0."""
        if t % self.every or not 0 < t < self.end:
            return 0.0
        return self.alpha / 2 * (1 + math.cos(math.pi * t / self.end))

    def curve(self) -> Curve:
        """The fractions over the optimizer steps."""
        steps = range(self.every, self.end, self.every)
        x, y = tuple(float(t) for t in steps), tuple(self.fraction(t) for t in steps)
        return Curve(x_label="optimizer step", y_label="fraction of connections exchanged", x=x, y=y)


def drop_and_grow(w: Tensor, mask: Tensor, growth: Tensor, count: int) -> Tensor:
    """Drop the `count` active weights of smallest magnitude, and grow as many where `growth` is largest.

    All inactive weights can grow, also those that were dropped just before (RigL, algorithm 1).

    Args:
        w: Weights of any shape.
        mask: True where a weight is active; same shape.
        growth: Growth criterion; same shape.
        count: At most the number of active weights.

    Returns:
        The new mask, with the same number of active weights.
    """
    flat = mask.flatten()
    active = flat.nonzero().flatten()
    order = w.detach().flatten()[active].abs().argsort(stable=True)
    updated = flat.clone()
    updated[active[order[:count]]] = False
    candidates = (~updated).nonzero().flatten()
    best = growth.flatten()[candidates].argsort(descending=True, stable=True)[:count]
    updated[candidates[best]] = True
    return updated.view(mask.shape)


class DropGrow:
    """Masks of a network in training, updated by drop and grow; a hook of the training loop.

    Gradients of inactive weights are set to zero before the optimizer step, so that a new connection starts at zero without
    momentum. On steps that update the masks, the dense gradients are stored first. The update comes after the optimizer step on
    the same batch.

    Args:
        module: The network; its masked weights are zero.
        masks: By parameter name, True where a weight is active.
        growth: `set` or `rigl`.
        exchanges: Schedule of the updates.
        seed: Seed of random growth.
    """

    def __init__(
        self, module: nn.Module, masks: Mapping[str, Tensor], growth: str, exchanges: DropGrowSchedule, seed: int
    ) -> None:
        self.module, self.growth, self.exchanges, self.seed = module, growth, exchanges, seed
        self.masks = dict(masks)
        self.dense: dict[str, Tensor] = {}
        self.t = 0
        self.identity = f"{growth} {exchanges} {seed}"
        self.handles: list[RemovableHandle] = []
        for name in masks:
            w: Any = module.get_parameter(name)
            self.handles.append(w.register_post_accumulate_grad_hook(self._gradient_of(name)))

    def close(self) -> None:
        """Remove the hooks from the network."""
        for handle in self.handles:
            handle.remove()

    @torch.no_grad()
    def __call__(self) -> None:
        """After an optimizer step: update the masks if the schedule says so, then set inactive weights to zero."""
        self.t += 1
        fraction = self.exchanges.fraction(self.t)
        for name in self.masks:
            w = self.module.get_parameter(name)
            mask = self._mask(name, w)
            if fraction:
                mask = self.masks[name] = drop_and_grow(w, mask, self._growth(name, w), int(fraction * int(mask.sum())))
            w.masked_fill_(~mask, 0.0)
        self.dense.clear()

    def _gradient_of(self, name: str) -> Callable[[Tensor], None]:
        def hook(w: Tensor) -> None:
            if w.grad is None:
                return
            mask = self._mask(name, w)
            if self.growth == "rigl" and self.exchanges.fraction(self.t + 1):
                inactive = w.grad.masked_fill(mask, 0.0)
                # a step with gradient accumulation has several batches
                self.dense[name] = self.dense[name] + inactive if name in self.dense else inactive
            w.grad.masked_fill_(~mask, 0.0)

        return hook

    def _growth(self, name: str, w: Tensor) -> Tensor:
        if self.growth == "set":
            generator = torch.Generator().manual_seed(zlib.crc32(f"{self.seed}:{self.t}:{name}".encode()))
            return torch.rand(w.shape, generator=generator).to(w.device)
        gradient = self.dense.get(name, torch.zeros_like(w))
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(gradient)
        return gradient.abs()

    def _mask(self, name: str, w: Tensor) -> Tensor:
        if self.masks[name].device != w.device:
            self.masks[name] = self.masks[name].to(w.device)
        return self.masks[name]

    def state_dict(self) -> State:
        """Steps so far, and the masks."""
        return {"t": self.t, "masks": {name: mask.cpu() for name, mask in self.masks.items()}}

    def load_state_dict(self, state: State) -> None:
        """Continue from a stored state."""
        self.t, self.masks = integer(state, "t"), tensors_of(state, "masks")
