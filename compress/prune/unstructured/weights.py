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
from compress.prune.base import Constraints, PrunedModel
from compress.prune.criteria import Importance
from compress.prune.criteria.base import Layerwise
from compress.prune.field_types import parse_block
from compress.prune.unstructured.blocks import SINGLE, Block
from compress.prune.unstructured.keep_masks import Ranking, keep_masks, layer_counts, max_removals
from compress.prune.unstructured.layer_by_layer import prune_layer_by_layer
from compress.prune.unstructured.solvers import Removal
from compress.train.module_globs import check_globs, match_modules

_HOLDERS = (nn.modules.conv._ConvNd, nn.Linear, nn.MultiheadAttention)
_HALVINGS = 12


def prunable(module: nn.Module, protected: frozenset[str] = frozenset()) -> dict[str, nn.Parameter]:
    """Weight matrices and kernels by name, each shared parameter once, without biases, normalisation and embeddings.

    The weight of an output layer that is the table of an embedding is an embedding.
    """
    weights: dict[str, nn.Parameter] = {}
    excluded = {
        id(p)
        for name, part in module.named_modules()
        if name in protected or isinstance(part, nn.Embedding)
        for p in part.parameters(recurse=False)
    }
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


class UnstructuredPruner:
    """Prunes single weights or blocks of one dense network, in any number of steps.

    Args:
        parent: The dense network. Not changed.
        spec: Not used; part of the common signature.
        measure: Meaning of a target: `sparsity`, the fraction of the prunable weights to remove; `params`, the fraction of all
            parameters to keep; `bytes`, the fraction of the compressed bytes to keep.
        ranking: `global`, `local`, `erk` or `row`.
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
        if importance.layerwise is not None and (importance.layerwise.reconstructs or self.ranking == "row"):
            return self._layer_by_layer(module, fraction, importance.layerwise)
        weights = prunable(module, self.protected)
        scores = {
            name: self.block.pool(importance.weights(name, p).masked_fill(p.detach() == 0, -1.0)) for name, p in weights.items()
        }
        if self.measure == "bytes":
            return self._prune_to_bytes(module, fraction, scores)
        target = self._target(fraction)
        return self._masked(module, scores, min(round(target), self.max_removals), self._shortfall(target))

    def _target(self, fraction: float) -> float:
        """Number of weights to remove, for `sparsity` and `params`."""
        return fraction * self.prunable if self.measure == "sparsity" else (1 - fraction) * self.parameters

    def _layer_by_layer(self, module: nn.Module, fraction: float, rule: Layerwise) -> PrunedModel:
        """The network pruned by a rule for one layer after the other."""
        target, weights = self._target(fraction), prunable(module, self.protected)
        sizes = {name: p.numel() for name, p in weights.items()}
        shapes = {name: p.shape for name, p in weights.items()}
        ceiling = max_removals(sizes, self.ratios)
        counts = layer_counts(shapes, sizes, ceiling, min(round(target), self.max_removals), self.ranking)
        removals = {name: Removal(counts[name] / n) for name, n in sizes.items()}
        pruned, notes = pruned_by_rule(module, removals, rule)
        return PrunedModel(pruned.module, pruned.after_step, (*self._shortfall(target), *notes))

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


def pruned_by_rule(module: nn.Module, removals: Mapping[str, Removal], rule: Layerwise) -> tuple[PrunedModel, tuple[Fact, ...]]:
    """A network pruned layer by layer, and a note on the layers where magnitude took the place of the rule.

    Args:
        module: Not changed.
        removals: How much of each weight is removed, by parameter name.
        rule: The rule, with its data.
    """
    assert rule.data is not None  # noqa: S101  # `Importance.collect` has set it
    pruned = copy.deepcopy(module).eval()
    pruned.zero_grad(set_to_none=True)
    masks, by_magnitude = prune_layer_by_layer(pruned, removals, rule.solve, rule.data)
    after_step = WeightMasks(pruned, masks)
    after_step()
    notes = (Fact.of("prune.by_magnitude", layers=by_magnitude),) if by_magnitude else ()
    return PrunedModel(pruned, after_step), notes


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
