"""Importance from activations: APoZ, mean absolute activation, and Wanda.

A channel is scored at the inputs of the layers that read it, thus after the activation function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch_pruning as tp
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from compress.core.errors import ModelError
from compress.core.language import gettext
from compress.prune.base import MASK
from compress.prune.criteria.base import (
    LAYERS,
    Importance,
    Layer,
    Layerwise,
    ScoringData,
    group_scores,
    layers_of,
    refuse_weights,
    working_copy,
)
from compress.prune.graph_types import Group
from compress.prune.unstructured.solvers import solve_wanda

RecordInput = Callable[[str, Tensor], None]


def apoz(seed: int = 0) -> Importance:  # noqa: ARG001
    """1 − APoZ, the fraction of positions at which a channel is not zero. Not for weights.

    Hu et al. 2016, "Network Trimming", arXiv:1607.03250. It needs an activation function with exact zeros, such as ReLU.
    """
    fractions: dict[str, Tensor] = {}

    def collect(module: nn.Module, data: ScoringData) -> None:
        fractions.update(_means(module, data, lambda x: (x != 0).to(torch.float64)))
        if all(bool((fraction == 1).all()) for fraction in fractions.values()):
            msg = gettext(
                "importance 'apoz' counts zeros, and no activation of this network is ever zero; use 'activation' or 'taylor'"
            )
            raise ModelError(msg)

    return Importance(channels=lambda _, group: mean_over_readers(group, fractions), weights=refuse_weights, collect=collect)


def activation(seed: int = 0) -> Importance:  # noqa: ARG001
    """Mean |x| of a channel. Not for weights.

    Molchanov et al. 2017, "Pruning Convolutional Neural Networks for Resource Efficient Inference", arXiv:1611.06440, compare
    it with other criteria.
    """
    means: dict[str, Tensor] = {}

    def collect(module: nn.Module, data: ScoringData) -> None:
        means.update(_means(module, data, lambda x: x.abs()))

    return Importance(channels=lambda _, group: mean_over_readers(group, means), weights=refuse_weights, collect=collect)


def wanda(seed: int = 0) -> Importance:  # noqa: ARG001
    """Weight times the norm of its input: |w_ij| · ‖x_j‖₂.

    ‖x_j‖₂ is the norm over all samples and positions, divided by the root of their number; the division does not change the
    order within a layer. Channel: the sum over its weights, averaged over the layers of its group. `ranking: row` compares
    weights within each output, layer by layer with the inputs behind pruned layers, as the paper does for language models;
    `local` compares within a layer, from which the paper reports no difference for image classifiers.
    Sun et al. 2024, "A Simple and Effective Pruning Approach for Large Language Models", arXiv:2306.11695.
    """
    norms: dict[str, Tensor] = {}
    transposed: set[str] = set()
    layerwise = Layerwise(solve_wanda)

    def collect(module: nn.Module, data: ScoringData) -> None:
        layerwise.data = data
        norms.update({name: mean.sqrt() for name, mean in _means(module, data, torch.square).items()})
        transposed.update(name for name, part in module.named_modules() if getattr(part, "transposed", False))

    def weights(name: str, w: Tensor) -> Tensor:
        layer = name.rpartition(".")[0]
        key = name if name.endswith("in_proj_weight") else layer
        if key not in norms:
            msg = gettext("{name} has no input norms; call collect first", name=name)
            raise ValueError(msg)
        return w.detach().abs() * per_input(norms[key], w, transposed=layer in transposed)

    return Importance(
        channels=lambda _, group: group_scores(group, weights), weights=weights, collect=collect, layerwise=layerwise
    )


def per_input(x: Tensor, w: Tensor, *, transposed: bool = False) -> Tensor:
    """Values per input channel, reshaped so that they broadcast against a weight.

    Args:
        x: Values, (inputs,).
        w: Weight, (outputs, inputs / groups, …); of a transposed convolution (inputs, outputs / groups, …).
        transposed: The weight is of a transposed convolution.

    Returns:
        (outputs, inputs / groups, 1, …); for a transposed convolution (inputs, 1, …).
    """
    tail = (1,) * (w.dim() - 2)
    if transposed:
        return x.view(-1, 1, *tail).to(w.dtype)
    groups = len(x) // w.shape[1]
    return x.view(groups, 1, -1).expand(groups, w.shape[0] // groups, -1).reshape(*w.shape[:2], *tail).to(w.dtype)


def mean_over_readers(group: Group, means: dict[str, Tensor]) -> Tensor | None:
    """Mean over the layers that read a channel; None where no layer with recorded inputs reads it."""
    parts = layers_of(group)
    if not means:
        msg = gettext("no activations were collected; call collect first")
        raise ValueError(msg)
    for name, part in parts.items():
        part._importance = means[name].float()
    try:
        scores: Tensor | None = tp.importance.ActivationImportance(target_types=list(LAYERS))(group)
    finally:
        for part in parts.values():
            del part._importance
    return scores


def _means(module: nn.Module, data: ScoringData, statistic: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
    """Mean of `statistic(x)` over samples and positions for every input channel of every layer, (inputs,), float64.

    Padding of a text is not counted where a layer reads every token of it.
    Keys are layer names; the two projections of attention have the keys `NAME.in_proj_weight` and `NAME.out_proj`.
    """
    sums: dict[str, Tensor] = {}
    counts: dict[str, int] = {}
    tokens: Tensor | None = None

    def record(name: str, x: Tensor) -> None:
        x = x if tokens is None or len(tokens) != len(x) else x[tokens]
        rows = statistic(x.detach()).double()
        sums[name] = sums.get(name, torch.zeros((), dtype=torch.float64)) + rows.sum(0).cpu()
        counts[name] = counts.get(name, 0) + len(rows)

    work = working_copy(module, data.device)
    with record_inputs(work, record), torch.no_grad():
        for batch in data.batches:
            inputs = batch.to(data.device).inputs
            tokens = inputs[MASK].flatten().bool() if MASK in inputs else None
            data.task.forward(work, inputs)
    return {name: total / counts[name] for name, total in sums.items()}


@contextmanager
def record_inputs(module: nn.Module, record: RecordInput) -> Iterator[None]:
    """In the context, `record` receives the inputs of every layer, (positions, channels)."""
    handles: list[RemovableHandle] = []
    for name, part in module.named_modules():
        if isinstance(part, nn.MultiheadAttention):
            handles.append(part.register_forward_hook(_attention(name, record), with_kwargs=True))
        elif isinstance(part, LAYERS):
            handles.append(part.register_forward_pre_hook(_layer(name, record)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _layer(name: str, record: RecordInput) -> Callable[[Layer, tuple[Tensor, ...]], None]:
    def hook(part: Layer, inputs: tuple[Tensor, ...]) -> None:
        x = inputs[0]
        record(name, (x if isinstance(part, nn.Linear) else x.movedim(x.dim() - len(part.kernel_size) - 1, -1)).flatten(0, -2))

    return hook


def _attention(name: str, record: RecordInput) -> Callable[..., None]:
    """Hook for attention, which does not call its projections.

    The input of the output projection is the output of the module when that projection is the identity.
    """

    def hook(part: nn.MultiheadAttention, inputs: tuple[Any, ...], named: dict[str, Any], _: object) -> None:
        query: Tensor = inputs[0] if inputs else named["query"]
        record(f"{name}.in_proj_weight", query.flatten(0, -2))
        out = part.out_proj
        parameters = {name: p.data for name, p in out.named_parameters()}
        try:
            for p in out.parameters():
                p.data = torch.eye(len(p), dtype=p.dtype, device=p.device) if p.dim() > 1 else torch.zeros_like(p.data)
            record(f"{name}.out_proj", part.forward(*inputs, **named)[0].flatten(0, -2))
        finally:
            for name_of_p, p in out.named_parameters():
                p.data = parameters[name_of_p]

    return hook
