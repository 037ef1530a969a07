"""Unstructured pruning: single weights are set to zero and kept there by masks.

Han et al. 2015, "Learning both Weights and Connections", arXiv:1506.02626; ranked over all layers at once as in Zhu & Gupta
2017, arXiv:1710.01878. Shapes stay: what it gives is bytes after compression, not time on a dense runtime.
"""

from __future__ import annotations

import copy
import zlib
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from compress.errors import ModelError
from compress.prune.coverage import protected
from compress.prune.cut import Cut, Limits
from compress.prune.importance import Importance
from compress.prune.plan import Ranking
from compress.record import InputSpec, Skip

_HOLDERS = (nn.modules.conv._ConvNd, nn.Linear, nn.MultiheadAttention)


def prunable(module: nn.Module, guarded: frozenset[str] = frozenset()) -> dict[str, nn.Parameter]:
    """Weight matrices and kernels by name; biases, normalisation and embeddings are not among them."""
    found: dict[str, nn.Parameter] = {}
    for name, part in module.named_modules():
        if isinstance(part, _HOLDERS) and name not in guarded:
            prefix = f"{name}." if name else ""
            found |= {f"{prefix}{key}": p for key, p in part.named_parameters(recurse=False) if p.dim() > 1}
    return found


def caps(sizes: Mapping[str, int], max_ratio: float) -> dict[str, int]:
    """How many weights of each layer may go: ⌊max_ratio · n⌋."""
    return {name: int(max_ratio * n + 1e-9) for name, n in sizes.items()}


def keep_masks(scores: Mapping[str, Tensor], count: int, *, ranking: Ranking, max_ratio: float) -> dict[str, Tensor]:
    """Which weights stay when the `count` lowest go.

    Args:
        scores: One a weight, any shape.
        count: How many go over all layers; exactly this many, unless the ceilings forbid it.
        ranking: `global`: lowest over all layers; `local`: the same fraction of each.
        max_ratio: Ceiling for each layer, in (0, 1).

    Returns:
        Boolean masks of the scores' shapes, True where a weight stays. Ties go by position.
    """
    flat = {name: s.detach().flatten().float() for name, s in scores.items()}
    ceiling = caps({name: s.numel() for name, s in flat.items()}, max_ratio)
    if ranking == "local":
        shares = _shares({name: s.numel() for name, s in flat.items()}, ceiling, count)
        gone = {name: _lowest(s, shares[name]) for name, s in flat.items()}
    else:
        eligible = [s.masked_fill(~_lowest(s, ceiling[name]), torch.inf) for name, s in flat.items()]
        picked = _lowest(torch.cat(eligible), min(count, sum(ceiling.values())))
        gone = dict(zip(flat, torch.split(picked, [s.numel() for s in eligible]), strict=True))
    return {name: ~gone[name].view(s.shape) for name, s in scores.items()}


def _lowest(s: Tensor, count: int) -> Tensor:
    """True at exactly `count` places of a vector, its lowest; of equal ones the first."""
    gone = torch.zeros(s.numel(), dtype=torch.bool)
    if count > 0:
        edge = s.kthvalue(count).values
        gone = s < edge
        gone[(s == edge).nonzero().flatten()[: count - int(gone.sum())]] = True
    return gone


def _shares(sizes: Mapping[str, int], ceiling: Mapping[str, int], count: int) -> dict[str, int]:
    total, gone, done = sum(sizes.values()), {}, 0
    for name, n in sizes.items():
        done += n
        gone[name] = min(count * done // total - count * (done - n) // total, ceiling[name])
    return gone


class Weights:
    """Prunes single weights of one dense network, in as many cuts as wanted.

    Args:
        parent: The dense network. It is not changed.
        spec: Its input; not needed, both granularities are made alike.
        measure: `sparsity`: the target is the fraction of prunable weights to remove; `params`: the fraction of all
            parameters to keep.
        ranking: `global` or `local`.
        limits: Ceiling and protected layers.

    Raises:
        ModelError: It has no weight that may be pruned.
    """

    def __init__(
        self,
        parent: nn.Module,
        spec: InputSpec,  # noqa: ARG002
        *,
        measure: Literal["sparsity", "params"],
        ranking: Ranking,
        limits: Limits,
    ) -> None:
        self.ranking, self.limits, self.measure = ranking, limits, measure
        self.guarded = protected(parent, limits.protect)
        sizes = {name: p.numel() for name, p in prunable(parent, self.guarded).items()}
        if not sizes:
            msg = "no weight of this network may be pruned: every convolution and linear layer is protected; protect less"
            raise ModelError(msg)
        self.prunable = sum(sizes.values())
        self.parameters = sum(p.numel() for p in parent.parameters())
        self.most = sum(caps(sizes, limits.max_ratio).values())
        self.skipped = self._skips(parent)

    def _skips(self, parent: nn.Module) -> tuple[Skip, ...]:
        left = sorted(set(prunable(parent)) - set(prunable(parent, self.guarded)))
        rest = self.parameters - sum(p.numel() for p in prunable(parent).values())
        others = Skip(
            what=f"{rest} other parameters", reason="biases, normalisation and embeddings: few, and each matters much"
        )
        return (*(Skip(what=name, reason="protected") for name in left), others)

    def cut(self, module: nn.Module, fraction: float, importance: Importance) -> Cut:
        """Set the lowest weights to zero.

        Args:
            module: The dense network or the result of an earlier cut, whose zeros stay. Not changed.
            fraction: As `measure` says, in (0, 1).
            importance: Scores.
        """
        wanted = fraction * self.prunable if self.measure == "sparsity" else (1 - fraction) * self.parameters
        count = min(round(wanted), self.most)
        scores = {
            name: importance.weights(name, p).masked_fill(p.detach() == 0, -1.0)
            for name, p in prunable(module, self.guarded).items()
        }
        masks = keep_masks(scores, count, ranking=self.ranking, max_ratio=self.limits.max_ratio)
        made = copy.deepcopy(module).eval()
        made.zero_grad(set_to_none=True)
        after_step = Masks(made, masks)
        after_step()
        return Cut(made, after_step, self._shortfall(wanted))

    def _shortfall(self, wanted: float) -> tuple[str, ...]:
        if round(wanted) <= self.most:
            return ()
        reached = (
            f"{self.most / self.prunable:.3f} of the prunable weights removed where {wanted / self.prunable:.3f} was asked"
        )
        return (f"target not reached: {reached}; limited by max_ratio {self.limits.max_ratio} in each layer",)


class Masks:
    """Sets masked weights to zero each time it is called; follows the module to other devices.

    Args:
        module: Holds the parameters.
        masks: By parameter name, True where a weight stays.
    """

    def __init__(self, module: nn.Module, masks: Mapping[str, Tensor]) -> None:
        self.module, self.gone = module, {name: ~mask for name, mask in masks.items()}

    @torch.no_grad()
    def __call__(self) -> None:
        """Apply."""
        for name, gone in self.gone.items():
            parameter = self.module.get_parameter(name)
            if gone.device != parameter.device:
                self.gone[name] = gone.to(parameter.device)
            parameter.masked_fill_(self.gone[name], 0.0)


def zeros(module: nn.Module, guarded: frozenset[str] = frozenset()) -> dict[str, tuple[int, int]]:
    """(zeros, weights) of each prunable parameter, counted."""
    return {name: (int((p == 0).sum()), p.numel()) for name, p in prunable(module, guarded).items()}


def compressed_bytes(module: nn.Module) -> int:
    """Bytes of all float32 parameters and buffers after DEFLATE (zlib, level 6)."""
    packer = zlib.compressobj(6)
    size = 0
    for value in module.state_dict().values():
        size += len(packer.compress(value.detach().cpu().contiguous().numpy().tobytes()))
    return size + len(packer.flush())
