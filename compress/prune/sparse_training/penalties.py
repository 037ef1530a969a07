"""Sparse training before pruning: a penalty moves unimportant weights towards zero, so that their removal loses little.

The penalty is a term of the loss, as in the papers, so its gradient passes through the optimizer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from pydantic import PrivateAttr
from torch import Tensor, nn

from compress.core.errors import ModelError
from compress.core.language import gettext
from compress.core.registry import lookup
from compress.prune.criteria.base import LAYERS, Layer
from compress.prune.schedule_settings import SparseTraining
from compress.prune.unstructured.weights import prunable
from compress.train.loss_term import LossInputs, LossTerm

_NORMS = (nn.modules.batchnorm._BatchNorm,)


def l1(weights: Iterable[Tensor]) -> Tensor:
    """Σ |w|, a scalar. Tibshirani 1996; for convolutions Liu et al. 2015, "Sparse Convolutional Neural Networks", CVPR."""
    return torch.stack([w.abs().sum() for w in weights]).sum()


def group_lasso(filters: Iterable[Tensor]) -> Tensor:
    """Σ ‖F‖₂ over all filters F of all layers, so that the weights of a filter become zero together.

    Wen et al. 2016, "Learning Structured Sparsity in Deep Neural Networks", arXiv:1608.03665, equation 4, filter-wise.

    Args:
        filters: Filters of each layer, (out, …).

    Returns:
        A scalar.
    """
    return torch.stack([_norms(w.flatten(1)).sum() for w in filters]).sum()


def _norms(rows: Tensor) -> Tensor:
    """‖row‖₂ of each row; its gradient is 0 where it is 0."""
    squares = rows.square().sum(1)
    return torch.where(squares > 0, squares.clamp_min(torch.finfo(rows.dtype).tiny).sqrt(), 0.0)


class SparsityPenalty(LossTerm):
    """A penalty on the weights of a network as a term of its training loss.

    Attributes:
        kind: As in `SparseTraining`.
        strength: As in `SparseTraining`.
    """

    kind: str
    strength: float
    _compute: Callable[[], Tensor] = PrivateAttr()

    @classmethod
    def of(cls, settings: SparseTraining, compute: Callable[[], Tensor]) -> SparsityPenalty:
        """A term that returns the result of `compute`."""
        term = cls(kind=settings.kind, strength=settings.lam)
        term._compute = compute
        return term

    def forward(self, inputs: LossInputs) -> Tensor:  # noqa: ARG002
        """The penalty of the current weights; it does not depend on the batch."""
        return self._compute()


def build_penalty(settings: SparseTraining, module: nn.Module, protected: frozenset[str]) -> SparsityPenalty:
    """L1, slimming or group lasso on the weights of a network without its protected modules.

    Slimming: λ Σ |γ| over batch norms, Liu et al. 2017, "Network Slimming", arXiv:1708.06519.

    Raises:
        ModelError: The network has no weights for this penalty.
    """
    parts = [(name, part) for name, part in module.named_modules() if name not in protected]
    tensors: list[Tensor]
    entry = lookup("penalty", settings.kind)
    acts_on = entry.options.get("acts_on", "weights")
    if acts_on == "batch norm":
        tensors = [part.weight for _, part in parts if isinstance(part, _NORMS) and part.affine]
    elif acts_on == "filters":
        tensors = [_filters(part) for _, part in parts if isinstance(part, LAYERS)]
    else:
        tensors = list(prunable(module, protected).values())
    if not tensors:
        layers = gettext("batch norms with a scale") if acts_on == "batch norm" else gettext("convolutions and linear layers")
        msg = gettext(
            "sparse_training: {kind} acts on {layers}, and this network has none unprotected; use another kind",
            kind=settings.kind,
            layers=layers,
        )
        raise ModelError(msg)
    penalty: Callable[[Iterable[Tensor]], Tensor] = entry.load()
    return SparsityPenalty.of(settings, lambda: settings.lam * penalty(tensors))


def _filters(part: Layer) -> Tensor:
    """Weight with the output channels first."""
    return part.weight.transpose(0, 1) if getattr(part, "transposed", False) else part.weight
