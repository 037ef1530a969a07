"""N:M sparsity: of every M neighbouring inputs of an output N stay, as sparse tensor cores want it (2:4).

Mishra et al. 2021, "Accelerating Sparse Deep Neural Networks", arXiv:2104.08378. Before the first cut input channels are
reordered so that less is lost: see `permute`.
"""

from __future__ import annotations

import copy
from typing import Literal

import torch
from torch import Tensor, nn

from compress.core.errors import ModelError
from compress.core.record import InputSpec, Skipped
from compress.models.module_globs import check_globs, match_modules
from compress.prune.base import Constraints, PrunedModel
from compress.prune.criteria import Importance
from compress.prune.sparsity_pattern import kept_of
from compress.prune.unstructured.channel_permutation import permute_channels
from compress.prune.unstructured.weights import WeightMasks, layer_of, prunable


def shape_mismatch(shape: tuple[int, ...], m: int) -> str:
    """Why a weight (out, in, kernel…) has no groups of M inputs; empty if it has."""
    return f"its {shape[1]} inputs for each output do not divide into groups of {m}" if shape[1] % m else ""


def keep_mask(s: Tensor, n: int, m: int, part: float = 1.0) -> Tensor:
    """Which weights stay.

    Args:
        s: Scores (out, in, kernel…); `in` divides by M.
        n: How many of every M stay.
        m: Neighbouring inputs at one kernel position.
        part: Fraction of what the pattern removes that goes already, lowest scores first, in (0, 1].

    Returns:
        Boolean mask of the scores' shape. With part = 1 every group keeps exactly N; ties go by position.
    """
    groups = torch.unflatten(s.movedim(1, -1), -1, (-1, m))
    order = groups.argsort(dim=-1, stable=True)
    gone = torch.zeros_like(groups, dtype=torch.bool).scatter_(-1, order[..., : m - n], value=True)
    if part < 1:
        candidates = torch.where(gone, groups, torch.inf).flatten()
        first = candidates.argsort(stable=True)[: round(part * int(gone.sum()))]
        gone = torch.zeros_like(candidates, dtype=torch.bool).index_fill_(0, first, value=True).view_as(groups)
    return ~gone.flatten(-2).movedim(-1, 1)


class NMPruner:
    """Prunes one dense network to an N:M pattern, in as many cuts as wanted.

    Args:
        parent: The dense network. It is not changed.
        spec: Its input.
        measure: Only `sparsity`: the pattern decides how much goes.
        ranking: Not used: every group loses the same.
        limits: Protected layers.
        pattern: `N:M`.

    Raises:
        ModelError: No layer has inputs that divide into groups of M.
    """

    def __init__(
        self,
        parent: nn.Module,
        spec: InputSpec,
        *,
        measure: Literal["sparsity"] = "sparsity",  # noqa: ARG002
        ranking: Literal["global", "local"] = "global",  # noqa: ARG002
        limits: Constraints,
        pattern: str = "2:4",
    ) -> None:
        self.spec, (self.n, self.m) = spec, kept_of(pattern)
        self.told: tuple[str, ...] = ()
        hidden = match_modules(parent, limits.protect) | {
            name for name, _ in parent.named_modules() if name and limits.ceiling([name]) < 1 - self.n / self.m
        }
        check_globs(limits.ceilings, parent)
        shapes = {name: tuple(p.shape) for name, p in prunable(parent).items()}
        reasons = {name: "protected" for name in shapes if layer_of(name) in hidden}
        reasons |= {
            name: why for name, shape in shapes.items() if (why := shape_mismatch(shape, self.m)) and name not in reasons
        }
        self.protected = hidden | {layer_of(name) for name in reasons}
        self.skipped = tuple(Skipped(what=name, reason=reason) for name, reason in reasons.items())
        if len(reasons) == len(shapes):
            first = next(iter(reasons.items()), ("", "it has no convolution and no linear layer"))
            msg = f"no layer of this network takes {pattern}: {': '.join(first)}; protect less, or use granularity: weight"
            raise ModelError(msg)

    def prune(self, module: nn.Module, fraction: float, importance: Importance) -> PrunedModel:
        """Set to zero what the pattern removes, or on the way there the part of it that matters least.

        Args:
            module: The dense network or the result of an earlier cut, whose zeros stay. Not changed.
            fraction: Of the prunable weights to remove, up to 1 − N/M.
            importance: Scores.
        """
        work = copy.deepcopy(module).eval()
        scores = {name: importance.weights(name, p) for name, p in prunable(work, self.protected).items()}
        if not any(bool((p == 0).any()) for p in prunable(work, self.protected).values()):
            gain, scores, skipped = permute_channels(work, self.spec, scores, self.n, self.m)
            self.told = (f"input channels reordered before the first cut: {gain:.1%} more of the scores kept", *skipped)
        work.zero_grad(set_to_none=True)
        part = min(fraction / (1 - self.n / self.m), 1.0)
        masks = {
            name: keep_mask(scores[name].masked_fill(p.detach() == 0, -1.0), self.n, self.m, part)
            for name, p in prunable(work, self.protected).items()
        }
        after_step = WeightMasks(work, masks)
        after_step()
        return PrunedModel(work, after_step, self.told)
