"""Unstructured pruning: masks set single weights, or small blocks of weights, to zero and keep them there.

Han et al. 2015, "Learning both Weights and Connections", arXiv:1506.02626; with a ranking over all layers as in Zhu & Gupta
2017, arXiv:1710.01878. Shapes do not change, so it saves compressed bytes, not time on a dense runtime.
"""

from __future__ import annotations

import copy
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from compress.core.errors import ModelError
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.network_spec import NetworkSpec
from compress.core.sentences import render
from compress.models.module_globs import check_globs, match_modules
from compress.prune.base import Constraints, PrunedModel
from compress.prune.criteria import Importance
from compress.prune.field_types import parse_block
from compress.prune.unstructured import erk as budgets
from compress.prune.unstructured.blocks import SINGLE, Block

Ranking = Literal["global", "local", "erk"]
_HOLDERS = (nn.modules.conv._ConvNd, nn.Linear, nn.MultiheadAttention)
_HALVINGS = 12


def prunable(module: nn.Module, protected: frozenset[str] = frozenset()) -> dict[str, nn.Parameter]:
    """Weight matrices and kernels by name, each shared parameter once, without biases, normalisation and embeddings."""
    weights: dict[str, nn.Parameter] = {}
    excluded = {id(p) for name, part in module.named_modules() if name in protected for p in part.parameters(recurse=False)}
    for name, part in module.named_modules():
        if isinstance(part, _HOLDERS) and name not in protected:
            prefix = f"{name}." if name else ""
            matrices = [(key, p) for key, p in part.named_parameters(recurse=False) if p.dim() > 1 and p.numel()]
            weights |= {f"{prefix}{key}": p for key, p in matrices if id(p) not in excluded}
            excluded |= {id(p) for _, p in matrices}
    return weights


def layer_of(parameter: str) -> str:
    """Name of the module of a parameter."""
    return parameter.rpartition(".")[0]


def max_removals(sizes: Mapping[str, int], max_ratio: float | Mapping[str, float]) -> dict[str, int]:
    """Largest number of weights to remove of each layer, ⌊max_ratio · n⌋; with one ratio for all layers or one for each."""
    ratios = max_ratio if isinstance(max_ratio, Mapping) else dict.fromkeys(sizes, max_ratio)
    return {name: int(ratios[name] * n + 1e-9) for name, n in sizes.items()}


def keep_masks(
    scores: Mapping[str, Tensor],
    count: int,
    *,
    ranking: Ranking,
    max_ratio: float | Mapping[str, float],
    shapes: Mapping[str, Sequence[int]] | None = None,
) -> dict[str, Tensor]:
    """Masks of the weights to keep when the `count` lowest are removed.

    Args:
        scores: By layer, scores of the weights (or blocks), of any shape.
        count: Removals over all layers; exactly this many, unless the ceilings allow fewer.
        ranking: `global`: lowest over all layers; `local`: the same fraction of each layer; `erk`: see `erk.erk_densities`.
        max_ratio: Largest fraction of a layer to remove, at most 1; one for all layers or one for each.
        shapes: Shapes of the weights, for `erk`; by default those of the scores.

    Returns:
        Boolean masks of the shapes of the scores, True where a weight is kept. Ties are broken by position.
    """
    flat = {name: s.detach().flatten().float() for name, s in scores.items()}
    sizes = {name: s.numel() for name, s in flat.items()}
    ceiling = max_removals(sizes, max_ratio)
    if ranking == "global":
        eligible = [s.masked_fill(~_lowest(s, ceiling[name]), torch.inf) for name, s in flat.items()]
        lowest = _lowest(torch.cat(eligible), min(count, sum(ceiling.values())))
        removals = dict(zip(flat, torch.split(lowest, [s.numel() for s in eligible]), strict=True))
    else:
        weights = _layer_shares(shapes or {name: s.shape for name, s in scores.items()}, sizes, ceiling, count, ranking)
        counts = budgets.share_removals(weights, ceiling, count)
        removals = {name: _lowest(s, counts[name]) for name, s in flat.items()}
    return {name: ~removals[name].view(s.shape) for name, s in scores.items()}


def _layer_shares(
    shapes: Mapping[str, Sequence[int]], sizes: Mapping[str, int], ceiling: Mapping[str, int], count: int, ranking: Ranking
) -> dict[str, float]:
    """Share of each layer in the removals, up to a common factor."""
    total = sum(sizes.values())
    if ranking == "local" or count >= total:
        return {name: float(n) for name, n in sizes.items()}
    least = {name: 1 - ceiling[name] / n for name, n in sizes.items()}
    density = budgets.erk_densities(shapes, 1 - count / total, least=least)
    return {name: (1 - density[name]) * n for name, n in sizes.items()}


def _lowest(s: Tensor, count: int) -> Tensor:
    """Mask of the `count` lowest entries of a vector; of equal entries the first."""
    mask = torch.zeros(s.numel(), dtype=torch.bool)
    if count > 0:
        threshold = s.kthvalue(count).values
        mask = s < threshold
        mask[(s == threshold).nonzero().flatten()[: count - int(mask.sum())]] = True
    return mask


class UnstructuredPruner:
    """Prunes single weights or blocks of one dense network, in any number of steps.

    Args:
        parent: The dense network. Not changed.
        spec: Not used; part of the common signature.
        measure: Meaning of a target: `sparsity`, the fraction of the prunable weights to remove; `params`, the fraction of all
            parameters to keep; `bytes`, the fraction of the compressed bytes to keep.
        ranking: `global`, `local` or `erk`.
        limits: Ceilings and protected layers.
        block: Block of weights that are removed together.

    Raises:
        ModelError: No weight of the network can be pruned.
    """

    def __init__(
        self,
        parent: nn.Module,
        spec: NetworkSpec,  # noqa: ARG002
        *,
        measure: Literal["sparsity", "params", "bytes"],
        ranking: Ranking,
        limits: Constraints,
        block: Block = SINGLE,
    ) -> None:
        self.ranking, self.limits, self.measure, self.block = ranking, limits, measure, block
        protected = match_modules(parent, limits.protect)
        check_globs(limits.ceilings, parent)
        indivisible = {
            name: Fact.of(
                "prune.indivisible_blocks",
                name,
                outputs=p.shape[0],
                inputs=p.shape[1],
                rows=block.rows,
                columns=block.columns,
            )
            for name, p in prunable(parent, protected).items()
            if not block.divides(p.shape)
        }
        self.protected = protected | {layer_of(name) for name in indivisible}
        sizes = {name: p.numel() for name, p in prunable(parent, self.protected).items()}
        if not sizes:
            first = next(iter(indivisible.values()), None)
            reason = render(first) if first else gettext("every convolution and linear layer is protected")
            msg = gettext(
                "no weight of this network can be pruned: {reason}; protect less, or use granularity: weight", reason=reason
            )
            raise ModelError(msg)
        self.prunable = sum(sizes.values())
        self.parameters = sum(p.numel() for p in parent.parameters())
        self.ratios = {name: limits.ceiling([layer_of(name)]) for name in sizes}
        blocks = {name: n // block.size for name, n in sizes.items()}
        self.max_removals = sum(max_removals(blocks, self.ratios).values()) * block.size
        self.dense_bytes = compressed_bytes(parent) if measure == "bytes" else 0
        self.skipped = self._skips(parent, indivisible)

    def _skips(self, parent: nn.Module, indivisible: Mapping[str, Fact]) -> tuple[Fact, ...]:
        protected = sorted(set(prunable(parent)) - set(prunable(parent, self.protected)))
        rest = self.parameters - sum(p.numel() for p in prunable(parent).values())
        others = Fact.of("prune.other_parameters", count=rest)
        return (*(indivisible.get(name, Fact.of("prune.protected", name)) for name in protected), others)

    def prune(self, module: nn.Module, fraction: float, importance: Importance) -> PrunedModel:
        """Set the lowest weights to zero.

        Args:
            module: The dense network or the result of an earlier step, whose zeros are kept. Not changed.
            fraction: In the terms of `measure`, in (0, 1).
            importance: Scores.
        """
        weights = prunable(module, self.protected)
        scores = {
            name: self.block.pool(importance.weights(name, p).masked_fill(p.detach() == 0, -1.0)) for name, p in weights.items()
        }
        if self.measure == "bytes":
            return self._prune_to_bytes(module, fraction, scores)
        target = fraction * self.prunable if self.measure == "sparsity" else (1 - fraction) * self.parameters
        return self._masked(module, scores, min(round(target), self.max_removals), self._shortfall(target))

    @property
    def prunable_layers(self) -> int:
        """Number of weight tensors that can be pruned."""
        return len(self.ratios)

    def prune_single_layers(
        self, module: nn.Module, ratios: Sequence[float], importance: Importance
    ) -> Iterator[tuple[str, float, nn.Module]]:
        """Networks with a single sparse layer, for each layer and ratio: (layer, removed fraction, network)."""
        for name, p in prunable(module, self.protected).items():
            scores = {name: self.block.pool(importance.weights(name, p))}
            for ratio in sorted(ratios):
                count = round(ratio * scores[name].numel())
                masks = keep_masks(scores, count, ranking="global", max_ratio=1.0)
                pruned = copy.deepcopy(module).eval()
                WeightMasks(pruned, {name: self.block.spread(masks[name])})()
                yield layer_of(name), count / scores[name].numel(), pruned

    def _masked(self, module: nn.Module, scores: Mapping[str, Tensor], count: int, notes: tuple[Fact, ...] = ()) -> PrunedModel:
        """The network without its `count` lowest weights."""
        shapes = {name: p.shape for name, p in prunable(module, self.protected).items()}
        blocks = keep_masks(scores, count // self.block.size, ranking=self.ranking, max_ratio=self.ratios, shapes=shapes)
        pruned = copy.deepcopy(module).eval()
        pruned.zero_grad(set_to_none=True)
        after_step = WeightMasks(pruned, {name: self.block.spread(mask) for name, mask in blocks.items()})
        after_step()
        return PrunedModel(pruned, after_step, notes)

    def _prune_to_bytes(self, module: nn.Module, fraction: float, scores: Mapping[str, Tensor]) -> PrunedModel:
        """Bisect for the smallest number of zeros whose compressed bytes meet the target."""
        low, high = 0, self.max_removals
        best = self._masked(module, scores, high)
        reached = compressed_bytes(best.module) / self.dense_bytes
        if reached > fraction:
            return PrunedModel(best.module, best.after_step, (self._not_reached(reached, fraction),))
        for _ in range(_HALVINGS):
            middle = (low + high) // 2
            trial = self._masked(module, scores, middle)
            if compressed_bytes(trial.module) <= fraction * self.dense_bytes:
                high, best = middle, trial
            else:
                low = middle
        return best

    def _shortfall(self, target: float) -> tuple[Fact, ...]:
        if round(target) <= self.max_removals:
            return ()
        return (self._not_reached(self.max_removals / self.prunable, target / self.prunable),)

    def _not_reached(self, reached: float, target: float) -> Fact:
        """For `bytes`, fractions of the dense network's bytes to keep; else fractions of the prunable weights to remove."""
        values = {"granularity": "weight", "reached": reached, "asked": target, **self.limits.describe()}
        return Fact.of("prune.target_not_reached", self.measure, **values)


def block_pruner(parent: nn.Module, spec: NetworkSpec, *, pattern: str, **fields: Any) -> UnstructuredPruner:
    """Pruner of blocks of `pattern`, such as `1x4`; the other arguments are those of `UnstructuredPruner`."""
    return UnstructuredPruner(parent, spec, block=Block(*parse_block(pattern)), **fields)


class WeightMasks:
    """Sets masked weights to zero each time it is called.

    Args:
        module: The network.
        masks: By parameter name, True where a weight is kept.

    Attributes:
        removals: By parameter name, True where a weight is removed; on the device of the parameter after a call.
    """

    def __init__(self, module: nn.Module, masks: Mapping[str, Tensor]) -> None:
        self.module, self.removals = module, {name: ~mask for name, mask in masks.items()}

    @torch.no_grad()
    def __call__(self) -> None:
        """Set the removed weights to zero."""
        for name, removal in self.removals.items():
            parameter = self.module.get_parameter(name)
            if removal.device != parameter.device:
                self.removals[name] = removal.to(parameter.device)
            parameter.masked_fill_(self.removals[name], 0.0)


def count_zeros(module: nn.Module, protected: frozenset[str] = frozenset()) -> dict[str, tuple[int, int]]:
    """(zeros, weights) of each prunable parameter, by name."""
    return {name: (int((p == 0).sum()), p.numel()) for name, p in prunable(module, protected).items()}


def compressed_bytes(module: nn.Module) -> int:
    """Bytes of all float32 parameters and buffers after DEFLATE (zlib, level 6)."""
    packer = zlib.compressobj(6)
    size = 0
    for value in module.state_dict().values():
        size += len(packer.compress(value.detach().cpu().contiguous().numpy().tobytes()))
    return size + len(packer.flush())
