"""N:M sparsity: at most N of every M adjacent inputs of an output are nonzero, as sparse tensor cores require (2:4).

Mishra et al. 2021, "Accelerating Sparse Deep Neural Networks", arXiv:2104.08378. Before the first step input channels are
permuted so that the pattern retains more magnitude: see `channel_permutation`.
"""

from __future__ import annotations

import copy
from typing import Literal

import torch
from torch import Tensor, nn

from compress.core.errors import ModelError
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.network_spec import NetworkSpec
from compress.core.sentences import render
from compress.prune.base import Constraints, PrunedModel
from compress.prune.criteria import Importance
from compress.prune.field_types import parse_n_m
from compress.prune.unstructured.channel_permutation import permute_channels
from compress.prune.unstructured.solvers import Removal
from compress.prune.unstructured.weights import WeightMasks, layer_of, prunable, pruned_by_rule
from compress.train.module_globs import check_globs, match_modules


def keep_mask(s: Tensor, n: int, m: int, part: float = 1.0) -> Tensor:
    """Mask of the weights to keep.

    Args:
        s: Scores, (out, in, kernel…), with `in` a multiple of M.
        n: N, weights to keep of every M.
        m: M, adjacent inputs at one kernel position.
        part: Fraction of the removals of the pattern to apply, lowest scores first, in (0, 1].

    Returns:
        Boolean mask of the shape of the scores. With part = 1 every group keeps exactly N; ties are broken by position.
    """
    groups = torch.unflatten(s.movedim(1, -1), -1, (-1, m))
    order = groups.argsort(dim=-1, stable=True)
    removals = torch.zeros_like(groups, dtype=torch.bool).scatter_(-1, order[..., : m - n], value=True)
    if part < 1:
        candidates = torch.where(removals, groups, torch.inf).flatten()
        lowest = candidates.argsort(stable=True)[: round(part * int(removals.sum()))]
        removals = torch.zeros_like(candidates, dtype=torch.bool).index_fill_(0, lowest, value=True).view_as(groups)
    return ~removals.flatten(-2).movedim(-1, 1)


class NMPruner:
    """Prunes one dense network to an N:M pattern, in any number of steps.

    Args:
        parent: The dense network. Not changed.
        spec: Its input.
        measure: Not used: the pattern determines the sparsity.
        ranking: Not used: the same number is removed of every group.
        limits: Protected layers.
        pattern: `N:M`.

    Raises:
        ModelError: No layer has inputs that divide into groups of M.
    """

    def __init__(
        self,
        parent: nn.Module,
        spec: NetworkSpec,
        *,
        measure: Literal["sparsity"] = "sparsity",  # noqa: ARG002
        ranking: Literal["global", "local"] = "global",  # noqa: ARG002
        limits: Constraints,
        pattern: str = "2:4",
    ) -> None:
        self.spec, (self.n, self.m) = spec, parse_n_m(pattern)
        self.notes: tuple[Fact, ...] = ()
        protected = match_modules(parent, limits.protect) | {
            name for name, _ in parent.named_modules() if name and limits.ceiling([name]) < 1 - self.n / self.m
        }
        check_globs(limits.ceilings, parent)
        shapes = {name: tuple(p.shape) for name, p in prunable(parent).items()}
        excluded = [name for name in shapes if layer_of(name) in protected]
        self.skipped = (
            *(Fact.of("prune.protected", name) for name in excluded),
            *(
                Fact.of("prune.indivisible_inputs", name, inputs=shape[1], m=self.m)
                for name, shape in shapes.items()
                if shape[1] % self.m and name not in excluded
            ),
        )
        self.protected = protected | {layer_of(fact.subject) for fact in self.skipped}
        if len(self.skipped) == len(shapes):
            fact = next(iter(self.skipped), None)
            reason = (
                gettext("{subject}: {reason}", subject=fact.subject, reason=render(fact))
                if fact
                else gettext("it has no convolution and no linear layer")
            )
            msg = gettext(
                "no layer of this network fits pattern {pattern}: {reason}; protect less, or use granularity: weight",
                pattern=pattern,
                reason=reason,
            )
            raise ModelError(msg)

    def prune(self, module: nn.Module, fraction: float, importance: Importance) -> PrunedModel:
        """Set the weights that the pattern removes to zero; before the last step, only the least important of them.

        Args:
            module: The dense network or the result of an earlier step, whose zeros are kept. Not changed.
            fraction: Fraction of the prunable weights to remove, up to 1 − N/M.
            importance: Scores; a rule that prunes layer by layer removes all that the pattern asks for in one step.
        """
        part = min(fraction / (1 - self.n / self.m), 1.0)
        if importance.layerwise is not None and importance.layerwise.reconstructs:
            pattern = Removal(1 - self.n / self.m, (self.n, self.m))
            removals = dict.fromkeys(prunable(module, self.protected), pattern)
            pruned, notes = pruned_by_rule(module, removals, importance.layerwise)
            return PrunedModel(pruned.module, pruned.after_step, notes)
        work = copy.deepcopy(module).eval()
        scores = {name: importance.weights(name, p) for name, p in prunable(work, self.protected).items()}
        if not any(bool((p == 0).any()) for p in prunable(work, self.protected).values()):
            gain, scores, skipped = permute_channels(work, self.spec, scores, self.n, self.m)
            self.notes = (Fact.of("prune.channels_permuted", gain=gain), *skipped)
        work.zero_grad(set_to_none=True)
        masks = {
            name: keep_mask(scores[name].masked_fill(p.detach() == 0, -1.0), self.n, self.m, part)
            for name, p in prunable(work, self.protected).items()
        }
        after_step = WeightMasks(work, masks)
        after_step()
        return PrunedModel(work, after_step, self.notes)
