"""Importance of Minitron: norms of activations, for channels of feed-forward layers, hidden width and heads alike.

    a_c = (Σ_n (mean_t |x_{n,t,c}|)²)^½        at every layer that reads channel c; n sample, t token or position
    channel: mean of a_c over the layers that read it        head: ‖a_c‖₂ over its channels at the output projection

The hidden width is scored behind the norms, at the inputs of the layers that read them. Muralidharan et al. 2024, "Compact
Language Models via Pruning and Knowledge Distillation", arXiv:2407.14679, section 2.2, with its best aggregation: the mean over
the sequence, then the L2 norm over the batch. It takes no gradient. The paper removes at most a third in one round, distils,
and scores again.
"""

from __future__ import annotations

import torch
from torch import Tensor

from compress.core.language import gettext
from compress.prune.base import MASK
from compress.prune.criteria.activations import mean_over_readers, record_inputs
from compress.prune.criteria.base import Importance, ScoringData, refuse_weights, working_copy


def minitron(seed: int = 0) -> Importance:  # noqa: ARG001
    """Norms of activations; see the module. Not for weights. The scores of a group or module are divided by their mean."""
    norms: dict[str, Tensor] = {}

    def collect(module: torch.nn.Module, data: ScoringData) -> None:
        norms.clear()
        norms.update(activation_norms(module, data))

    def inputs(layer: str) -> Tensor:
        if layer not in norms:
            msg = gettext("{name} has no input norms; call collect first", name=layer)
            raise ValueError(msg)
        return norms[layer]

    return Importance(
        channels=lambda _, group: mean_over_readers(group, norms), weights=refuse_weights, collect=collect, inputs=inputs
    )


def activation_norms(module: torch.nn.Module, data: ScoringData) -> dict[str, Tensor]:
    """a_c of every input channel of every layer, (inputs,), float64, by layer name.

    Padding of a text is not counted where a layer reads every token of it.
    """
    squares: dict[str, Tensor] = {}
    size, mask = 1, torch.ones(1, 1)

    def record(name: str, x: Tensor) -> None:
        # samples come first; where the rows are not those of samples, as in pooled proposals, each counts as a sample
        rows = torch.unflatten(x.detach().abs().double(), 0, (size if len(x) % size == 0 else len(x), -1))
        weights = mask.to(rows) if mask.shape == rows.shape[:2] else torch.ones_like(rows[..., 0])
        means = (rows * weights[..., None]).sum(1) / weights.sum(1).clamp(min=1)[:, None]
        squares[name] = squares.get(name, torch.zeros((), dtype=torch.float64)) + means.square().sum(0).cpu()

    work = working_copy(module, data.device)
    with record_inputs(work, record), torch.no_grad():
        for batch in data.batches:
            inputs = batch.to(data.device).inputs
            size, mask = batch.size, inputs.get(MASK, torch.ones(1, 1))
            data.task.forward(work, inputs)
    return {name: total.sqrt() for name, total in squares.items()}
