"""Trial of groups of channels: the network without them must compute what it computes when nothing reads them.

    f_removed(x) = f_masked(x),   masked: zeros in the input weights of all readers, normalisation over the other channels only

Both are evaluated on a copy in float64 with random weights, on which every channel has an effect: a trained or fresh network
has zeros that hide a channel in the wrong place. Masking at the readers makes no assumption on the activation function.
Channels whose removal is not shown to be equivalent are left alone, also where the trial itself fails.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from compress.core.errors import ModelError
from compress.core.fact import Fact
from compress.core.network_spec import NetworkSpec
from compress.prune.structured.dependency_graph import Watchdog, channels_of, remove_channels
from compress.prune.structured.tolerant_graph import LAYERS, build_graph, first_line, record_last_module
from compress.tasks.flat_outputs import run_flat
from compress.tasks.output_names import name_outputs

TOLERANCE = 1e-8
"""Largest difference, as a fraction of the outputs' norm; float64 rounding is some 1e-13."""
LEAST_EFFECT = 1e-6
"""Smallest effect of a group on the outputs, likewise, that the trial can judge."""
_BATCHNORM = (nn.modules.batchnorm._BatchNorm,)
_NORMS = (nn.LayerNorm, nn.GroupNorm)
Inputs = tuple[Tensor, ...]


@dataclass(frozen=True, eq=False)
class TrialNetwork:
    """What all trials of a network start from.

    Attributes:
        spec: Its input.
        network: In float64, with random weights; the gradients are those of a random projection of the outputs.
        inputs: Two samples, (2, …) each, in the order of the signature.
        outputs: For these, joined, (2, K).
    """

    spec: NetworkSpec
    network: nn.Module
    inputs: Inputs
    outputs: Tensor

    def copy(self) -> nn.Module:
        """A copy that shares the gradients."""
        net = copy.deepcopy(self.network)
        for parameter, original in zip(net.parameters(), self.network.parameters(), strict=True):
            parameter.grad = original.grad
        return net


def unprunable(
    module: nn.Module,
    spec: NetworkSpec,
    picks: Mapping[str, Sequence[int]],
    *,
    watchdog: Watchdog | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> dict[str, Fact]:
    """Roots of groups that must be left alone, with the reason: those that fail together are halved.

    Args:
        module: Not changed.
        spec: Its input.
        picks: Channels to remove in the trial, by root layer.
        watchdog: Time limit.
        advance: Called with the number of roots that are decided.

    Raises:
        ModelError: It takes too long.
    """
    if not picks:
        return {}
    trial = _trial_network(module, spec)
    if isinstance(trial, Fact):
        advance(len(picks))
        return dict.fromkeys(picks, trial)
    return _halve(trial, picks, watchdog or Watchdog(), advance)


def _halve(
    trial: TrialNetwork, picks: Mapping[str, Sequence[int]], watchdog: Watchdog, advance: Callable[[int], None]
) -> dict[str, Fact]:
    roots = list(picks)
    watchdog.check(roots[0])
    verdict = check_equivalence(trial, picks)
    if not isinstance(verdict, Fact):
        advance(len(roots))
        return verdict
    if len(roots) == 1:
        advance(1)
        return {roots[0]: verdict}
    half = len(roots) // 2
    reasons: dict[str, Fact] = {}
    for part in (roots[:half], roots[half:]):
        reasons |= _halve(trial, {root: picks[root] for root in part}, watchdog, advance)
    return reasons


def check_equivalence(trial: TrialNetwork, picks: Mapping[str, Sequence[int]]) -> Fact | dict[str, Fact]:
    """Remove channels of a copy.

    Returns:
        What is wrong, without a subject; or, when the removal is equivalent, the roots whose channels have no effect that the
        trial could judge.
    """
    net, x, before = trial.copy(), trial.inputs, trial.outputs
    graph = build_graph(net, trial.spec)
    try:
        groups = {root: channels_of(graph, net.get_submodule(root), channels) for root, channels in picks.items()}
        effects = {root: _effect(graph, group) for root, group in groups.items()}
        with _masked(graph, groups.values()) as unknown_norms, torch.no_grad():
            expected = run_flat(net, x)
        remove_channels(net, graph, picks)
    except ModelError:
        return Fact.of("prune.would_empty_a_layer")
    except Exception as error:  # torch-pruning fails in many ways at operations that it does not know
        return Fact.of("prune.not_followed", error=first_line(error))
    try:
        with torch.no_grad():
            after = run_flat(net, x)
    except Exception as error:  # whatever the user's network raises at its new shape
        return Fact.of("prune.fails_when_smaller", error=first_line(error))
    if after.shape != before.shape:
        return Fact.of("prune.output_shape_changes", shape=tuple(after.shape))
    scale = float(before.norm())
    if unknown_norms or not float((after - expected).norm()) <= TOLERANCE * scale:
        return Fact.of("prune.not_equivalent")
    return {root: Fact.of("prune.effect_not_seen") for root, effect in effects.items() if not effect > LEAST_EFFECT * scale}


def _trial_network(module: nn.Module, spec: NetworkSpec) -> TrialNetwork | Fact:
    """The network with random weights, or with its own where these give no finite outputs; or why there is no trial."""
    x = tuple(spec.signature.example(2, dtype=torch.float64).values())
    for randomize in (True, False):
        net = _trial_copy(module, randomize=randomize)
        try:
            with torch.no_grad():
                outputs = run_flat(net, x)
            if bool(outputs.isfinite().all()):
                _add_gradients(net, x)
                return TrialNetwork(spec, net, x, outputs)
        except Exception as error:  # the user's network may not compute in float64, or not backwards
            return Fact.of("prune.trial_fails", error=first_line(error))
    return Fact.of("prune.trial_not_finite")


@torch.no_grad()
def _trial_copy(module: nn.Module, *, randomize: bool) -> nn.Module:
    """A copy in float64; with random weights of the scale of He's initialisation and random batch-norm statistics."""
    net = copy.deepcopy(module).double().eval()
    if not randomize:
        return net
    generator = torch.Generator().manual_seed(0)
    for name, parameter in net.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        if not parameter.is_floating_point() or not parameter.dim():
            continue
        if parameter.dim() > 1:
            parameter.copy_(noise * (2 / max(parameter[0].numel(), 1)) ** 0.5)
        else:
            parameter.copy_(0.1 * noise + (0.0 if name.endswith("bias") else 1.0))
    for part in net.modules():
        if isinstance(part, _BATCHNORM) and part.running_mean is not None and part.running_var is not None:
            part.running_mean.normal_(std=0.1, generator=generator)
            part.running_var.uniform_(0.5, 1.5, generator=generator)
    return net


def _read_weights(graph: Any, group: Any) -> Iterator[tuple[Tensor, Tensor]]:
    """Weights that multiply the channels of a group: the parameter, and a mask of its shape."""
    for dep, indices in group:
        part = dep.target.module
        if graph.is_out_channel_pruning_fn(dep.handler):
            continue
        if isinstance(part, nn.RNNBase):
            yield from (
                (parameter, _columns(parameter, indices, groups=1))
                for name, parameter in part.named_parameters()
                if name.startswith("weight_ih_l0")
            )
        elif isinstance(part, LAYERS):
            transposed = bool(getattr(part, "transposed", False))
            yield part.weight, _columns(part.weight, indices, groups=getattr(part, "groups", 1), transposed=transposed)


def _columns(weight: Tensor, indices: Sequence[int], *, groups: int, transposed: bool = False) -> Tensor:
    """True at the weights that multiply these input channels."""
    mask = torch.zeros(weight.shape, dtype=torch.bool)
    if transposed:
        mask[list(indices)] = True
        return mask
    width, rows = weight.shape[1], weight.shape[0] // groups
    for index in indices:
        first = index // width * rows
        mask[first : first + rows, index % width] = True
    return mask


def _add_gradients(net: nn.Module, x: Inputs) -> None:
    """Gradients of a random projection of the outputs."""
    net.requires_grad_(requires_grad=True).zero_grad()
    with torch.enable_grad():
        outputs = run_flat(net, x)
        noise = torch.randn(outputs.shape, generator=torch.Generator().manual_seed(1), dtype=outputs.dtype)
        (outputs * noise).sum().backward()  # type: ignore[no-untyped-call]


def _effect(graph: Any, group: Any) -> float:
    """First-order change of the projection of `_add_gradients` when nothing reads the channels."""
    return abs(sum(_gate_gradient(weight, mask) for weight, mask in _read_weights(graph, group)))


def _gate_gradient(weight: Tensor, mask: Tensor) -> float:
    return 0.0 if weight.grad is None else float((weight.detach() * weight.grad)[mask].sum())


@contextmanager
def _masked(graph: Any, groups: Iterable[Any]) -> Iterator[list[str]]:
    """Zero the weights that read the channels, for good, and leave the channels out of normalisation while it runs.

    The list holds the normalisations whose statistics are not known.
    """
    unknown: list[str] = []
    masks: dict[nn.LayerNorm | nn.GroupNorm, Tensor] = {}
    for group in groups:
        for weight, mask in _read_weights(graph, group):
            weight.detach().masked_fill_(mask, 0.0)
        for dep, indices in group:
            if isinstance(dep.target.module, _NORMS):
                mask = masks.setdefault(dep.target.module, torch.ones(graph.get_out_channels(dep.target), dtype=torch.float64))
                mask[list(indices)] = 0.0
    try:
        for part, mask in masks.items():
            part.__dict__["forward"] = _without(part, mask, unknown)
        yield unknown
    finally:
        for part in masks:
            del part.__dict__["forward"]


def _without(part: nn.LayerNorm | nn.GroupNorm, mask: Tensor, unknown: list[str]) -> Callable[[Tensor], Tensor]:
    """Forward of a normalisation over the channels that the mask marks."""
    original = part.forward

    def forward(x: Tensor) -> Tensor:
        own = original(x)
        everything = torch.ones_like(mask)
        for dim in (1, -1):
            if x.shape[dim] == len(mask) and torch.allclose(_normalize(part, x, everything, dim), own, atol=1e-9):
                return _normalize(part, x, mask, dim)
        unknown.append(type(part).__name__)
        return x

    return forward


def _normalize(part: nn.LayerNorm | nn.GroupNorm, x: Tensor, mask: Tensor, dim: int) -> Tensor:
    """Layer or group normalisation with mean and variance over the channels along `dim` that the mask marks."""
    y = x.movedim(dim, -1)
    shape = y.shape
    if isinstance(part, nn.GroupNorm):  # over the positions and the channels of each group
        y, m = y.reshape(shape[0], -1, part.num_groups, shape[-1] // part.num_groups), mask.view(1, 1, part.num_groups, -1)
        over: tuple[int, ...] = (1, 3)
        count = m.sum(3, keepdim=True) * y.shape[1]
    else:
        m, over, count = mask, (-1,), mask.sum()
    mean = (y * m).sum(over, keepdim=True) / count
    variance = ((y - mean).square() * m).sum(over, keepdim=True) / count
    y = ((y - mean) / (variance + part.eps).sqrt()).reshape(shape)
    weight, bias = part.weight, part.bias
    y = y if weight is None else y * weight
    return (y if bias is None else y + bias).movedim(-1, dim)


def check_forward(module: nn.Module, spec: NetworkSpec) -> None:
    """Run two samples through a pruned network.

    Raises:
        ModelError: It does not run, or its outputs changed shape; names the last module entered.
    """
    with record_last_module(module) as entered, torch.no_grad():
        try:
            outputs = module(*spec.signature.example(2).values())
        except Exception as error:  # whatever the user's network raises at its new shape
            reason = f"{type(error).__name__}: {error}"
            msg = f"the pruned network fails at {entered[0]!r} ({reason}); leave that layer alone with protect: {entered}"
            raise ModelError(msg) from error
    for output, values in zip(spec.signature.outputs, name_outputs(outputs, spec.output_names).values(), strict=True):
        if not output.fits(tuple(values.shape), batch=2):
            shape, expected = tuple(values.shape), (2, *output.sample_shape)
            msg = f"the pruned network answers with shape {shape} in place of {expected}"
            raise ModelError(f"{msg}; leave its output layer alone with protect")
