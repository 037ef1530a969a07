"""Growing regularization: an L2 penalty on the weights to remove, which grows until these weights are zero.

Wang et al. 2021, "Neural Pruning via Growing Regularization", arXiv:2012.09243:

    penalty = ½ Σ_j λ_j w_j²

GReg-1 (`greg1`): λ_j = min(τ, δ ⌊t / K⌋) for the weights to remove, 0 for the others.

GReg-2 (`greg2`): first λ_j = δ′ ⌊t / K⌋ for all weights. Under the same penalty, a weight with a large second derivative of the
loss shrinks less, so the magnitudes then contain information of the Hessian. At λ = τ′, in step T, the weights to remove are
selected by magnitude. Their factor continues to grow, λ_j = min(τ, τ′ + δ ⌊(t − T) / K⌋); that of the others is 0. (The code of
the authors makes it slightly negative.) After λ reaches τ, further steps let the network converge.

t: number of optimizer steps; δ, δ′: increase every K steps; τ: ceiling; τ′ ≤ τ: ceiling for the selection.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, nn

from compress.core.entries import State, integer
from compress.core.fact import Fact
from compress.prune.schedule_settings import SparseTraining, has_option
from compress.train.checkpoints import tensors_of


def masked_l2(weights: Iterable[Tensor], masks: Iterable[Tensor], lam: float) -> Tensor:
    """½ λ Σ w² over the weights where the masks are True; a mask has the shape of its weight."""
    parts = [(w * mask).square().sum() for w, mask in zip(weights, masks, strict=True)]
    return lam / 2 * torch.stack(parts).sum()


def greg1(t: int, *, delta: float, every: int, ceiling: float) -> float:
    """λ after t steps: min(τ, δ · ⌊t / K⌋), δ = `delta`, K = `every`, τ = `ceiling`."""
    return min(ceiling, delta * (t // every))


def greg2(t: int, *, pick: int, delta: float, pick_delta: float, every: int, pick_ceiling: float, ceiling: float) -> float:
    """λ of GReg-2 after t steps: of all weights before step `pick`, of the weights to remove afterwards.

    Args:
        t: Number of steps.
        pick: T, as `selection_step` returns it.
        delta: δ.
        pick_delta: δ′.
        every: K.
        pick_ceiling: τ′.
        ceiling: τ.
    """
    if t < pick:
        return greg1(t, delta=pick_delta, every=every, ceiling=pick_ceiling)
    return min(ceiling, pick_ceiling + greg1(t - pick, delta=delta, every=every, ceiling=ceiling))


def selection_step(*, delta: float, every: int, ceiling: float) -> int:
    """The first step after which δ′ ⌊t / K⌋ reaches τ′."""
    return every * math.ceil(ceiling / delta - 1e-9)


class GrowingPenalty:
    """Steps of a growing penalty; a hook of the training loop.

    Args:
        settings: Growth and ceilings.
        masks: By parameter name, True where a weight is to be removed; for `greg2` where it may be.
        module: In training.
        pick: For `greg2`: returns the masks of the weights to remove from a network in training.
    """

    def __init__(
        self,
        settings: SparseTraining,
        masks: Mapping[str, Tensor],
        module: nn.Module,
        pick: Callable[[nn.Module], Mapping[str, Tensor]] | None = None,
    ) -> None:
        self.settings, self.module, self._pick = settings, module, pick
        self.masks = {name: mask for name, mask in masks.items() if bool(mask.any())}
        self.t = 0
        self.selection_at = mask_selection_step(settings)
        marks = {name: zlib.crc32(mask.cpu().numpy().tobytes()) for name, mask in self.masks.items()}
        own = [settings.lam, settings.every, settings.ceiling, *((self.selection_at,) if self.selection_at else ())]
        self.identity = f"{settings.kind} {' '.join(map(str, own))} {marks}"

    def __call__(self) -> None:
        """After an optimizer step."""
        self.t += 1
        if self._pick is not None and self.t == self.selection_at:
            masks = self._pick(self.module)
            self.masks = {name: mask for name, mask in masks.items() if bool(mask.any())}

    def penalty(self) -> Tensor:
        """Penalty of the current step."""
        weights = [self.module.get_parameter(name) for name in self.masks]
        masks = (mask.to(w.device) for mask, w in zip(self.masks.values(), weights, strict=True))
        return masked_l2(weights, masks, factor_at(self.settings, self.t))

    def state_dict(self) -> State:
        """Steps so far, and the selection."""
        return {"t": self.t, "gone": {name: mask.cpu() for name, mask in self.masks.items()}}

    def load_state_dict(self, state: State) -> None:
        """Continue from a stored state."""
        self.t, self.masks = integer(state, "t"), tensors_of(state, "gone")


def mask_selection_step(settings: SparseTraining) -> int:
    """The step at which `greg2` selects; 0 for `greg1`, whose masks are fixed before training."""
    if not has_option("penalty", settings.kind, "picks"):
        return 0
    return selection_step(delta=settings.pick("pick_strength"), every=settings.every, ceiling=settings.pick("pick_ceiling"))


def factor_at(settings: SparseTraining, t: int) -> float:
    """λ of the weights to remove after t steps."""
    if not has_option("penalty", settings.kind, "picks"):
        return greg1(t, delta=settings.lam, every=settings.every, ceiling=settings.ceiling)
    return greg2(
        t,
        pick=mask_selection_step(settings),
        delta=settings.lam,
        pick_delta=settings.pick("pick_strength"),
        every=settings.every,
        pick_ceiling=settings.pick("pick_ceiling"),
        ceiling=settings.ceiling,
    )


def describe_growth(settings: SparseTraining, steps: int) -> tuple[Fact, ...]:
    """Facts: the factor of the penalty after a training of this many optimizer steps."""
    if not has_option("penalty", settings.kind, "grows"):
        return ()
    selection, factor = mask_selection_step(settings), factor_at(settings, steps)
    if steps < selection:
        return (Fact.of("prune.selection_not_reached", settings.kind, selection=selection, steps=steps, factor=factor),)
    values = {"selection": selection, "steps": steps, "factor": factor, "ceiling": settings.ceiling}
    return (Fact.of("prune.penalty_growth", settings.kind, **values),)
