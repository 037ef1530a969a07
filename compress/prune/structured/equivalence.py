"""Trial of groups of channels: removing them must have the same effect as masking them at the layers that read them.

    f_removed(x) = f_masked(x),   masked: zeros in the input weights of all readers, normalisation over the other channels only

Both are evaluated on a copy in float64 with random weights, so that every channel has an effect: zeros of a trained or newly
initialised network can hide that a wrong channel is removed. Masking at the readers needs no assumption about the activation
function. Channels are not pruned where the trial fails or shows a difference.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from compress.core.errors import ModelError
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.network_spec import NetworkSpec
from compress.prune.graph_types import Graph, Group
from compress.prune.structured.dependency_graph import Watchdog, channels_of, remove_channels
from compress.prune.structured.equivalence_inputs import trial_inputs
from compress.prune.structured.mask_channels import mask_channels, read_weights
from compress.prune.structured.rms_norm import run_exactly
from compress.prune.structured.tolerant_graph import build_graph, first_line, record_last_module
from compress.tasks.flat_outputs import all_outputs, flat_outputs
from compress.tasks.output_names import name_outputs

TOLERANCE = 1e-8
"""Largest difference, as a fraction of the norm of the outputs; float64 rounding is about 1e-13."""
MIN_EFFECT = 1e-6
"""Smallest effect of a group that the trial can detect, as a fraction of the norm of the outputs."""
_BATCHNORM = (nn.modules.batchnorm._BatchNorm,)
Inputs = tuple[Tensor, ...]


@dataclass(frozen=True, eq=False)
class TrialNetwork:
    """Network, inputs and outputs that all trials share.

    Attributes:
        spec: Input of the network.
        network: In float64, with random weights; its gradients are those of a random projection of the outputs.
        inputs: Two samples, (2, …) for each input, in the order of the signature.
        outputs: Outputs for these samples, concatenated, (2, K).
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
    """Roots of the groups that cannot be pruned, with the reason. A set of groups that fails the trial is halved.

    Args:
        module: Not changed.
        spec: Its input.
        picks: Channels to remove in the trial, by root layer.
        watchdog: Time limit.
        advance: Called with the number of tested roots.

    Raises:
        ModelError: The time limit is exceeded.
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
    result = check_equivalence(trial, picks)
    if not isinstance(result, Fact):
        advance(len(roots))
        return result
    if len(roots) == 1:
        advance(1)
        return {roots[0]: result}
    half = len(roots) // 2
    reasons: dict[str, Fact] = {}
    for part in (roots[:half], roots[half:]):
        reasons |= _halve(trial, {root: picks[root] for root in part}, watchdog, advance)
    return reasons


def check_equivalence(trial: TrialNetwork, picks: Mapping[str, Sequence[int]]) -> Fact | dict[str, Fact]:
    """Compare the removal of channels with masking them, on a copy.

    Args:
        trial: Network, inputs and outputs.
        picks: Channels to remove, by root layer.

    Returns:
        The reason without a subject, where the outputs differ or the network does not run; otherwise the roots whose channels
        have an effect too small to test, with this reason.
    """
    net, x, before = trial.copy(), trial.inputs, trial.outputs
    graph = build_graph(net, trial.spec)
    try:
        groups = {root: channels_of(graph, net.get_submodule(root), channels) for root, channels in picks.items()}
        effects = {root: _effect(graph, group) for root, group in groups.items()}
        with mask_channels(graph, groups.values()) as unknown_norms, torch.no_grad():
            expected = flat_outputs(all_outputs(net, x))
        remove_channels(net, graph, picks)
    except ModelError:
        return Fact.of("prune.would_empty_a_layer")
    except Exception as error:  # torch-pruning raises errors of many types at operations that it does not know
        return Fact.of("prune.not_followed", error=first_line(error))
    try:
        with torch.no_grad():
            after = flat_outputs(all_outputs(net, x))
    except Exception as error:  # any error of the user's network at its new shape
        return Fact.of("prune.fails_when_smaller", error=first_line(error))
    if after.shape != before.shape:
        return Fact.of("prune.output_shape_changes", shape=tuple(after.shape))
    scale = float(before.norm())
    if unknown_norms or not float((after - expected).norm()) <= TOLERANCE * scale:
        return Fact.of("prune.not_equivalent")
    return {root: Fact.of("prune.effect_not_seen") for root, effect in effects.items() if not effect > MIN_EFFECT * scale}


def _trial_network(module: nn.Module, spec: NetworkSpec) -> TrialNetwork | Fact:
    """The network with random weights, or with its own weights if those give outputs that are not finite; or the error."""
    x = trial_inputs(spec.signature)
    for randomize in (True, False):
        net = _trial_copy(module, randomize=randomize)
        try:
            with torch.no_grad():
                outputs = flat_outputs(all_outputs(net, x))
            if bool(outputs.isfinite().all()):
                _add_gradients(net, x)
                return TrialNetwork(spec, net, x, outputs)
        except Exception as error:  # the user's network may not support float64 or a backward pass
            return Fact.of("prune.trial_fails", error=first_line(error))
    return Fact.of("prune.trial_not_finite")


@torch.no_grad()
def _trial_copy(module: nn.Module, *, randomize: bool) -> nn.Module:
    """A copy in float64; if `randomize`, with weights at the scale of He initialisation and random batch-norm statistics."""
    net = copy.deepcopy(module).double().eval()
    run_exactly(net)
    if not randomize:
        return net
    generator = torch.Generator().manual_seed(0)
    for name, parameter in net.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        if not parameter.is_floating_point() or not parameter.dim() or not parameter.numel():  # empty in dropped blocks
            continue
        if parameter.dim() > 1:
            parameter.copy_(noise * (2 / parameter[0].numel()) ** 0.5)
        else:
            parameter.copy_(0.1 * noise + (0.0 if name.endswith("bias") else 1.0))
    for part in net.modules():
        if isinstance(part, _BATCHNORM) and part.running_mean is not None and part.running_var is not None:
            part.running_mean.normal_(std=0.1, generator=generator)
            part.running_var.uniform_(0.5, 1.5, generator=generator)
    return net


def _add_gradients(net: nn.Module, x: Inputs) -> None:
    """Fill `.grad` with the gradients of a random projection of the outputs."""
    net.requires_grad_(requires_grad=True).zero_grad()
    with torch.enable_grad():
        outputs = flat_outputs(all_outputs(net, x))
        noise = torch.randn(outputs.shape, generator=torch.Generator().manual_seed(1), dtype=outputs.dtype)
        torch.autograd.backward((outputs * noise).sum())


def _effect(graph: Graph, group: Group) -> float:
    """First-order change of the projection in `_add_gradients` when the weights that read the channels are zero."""
    return abs(sum(_gate_gradient(weight, mask) for weight, mask in read_weights(graph, group)))


def _gate_gradient(weight: Tensor, mask: Tensor) -> float:
    return 0.0 if weight.grad is None else float((weight.detach() * weight.grad)[mask].sum())


def check_forward(module: nn.Module, spec: NetworkSpec) -> None:
    """Run two samples through a pruned network.

    Raises:
        ModelError: It does not run, or the shape of an output changed; the message names the last module entered.
    """
    with record_last_module(module) as last_module, torch.no_grad():
        try:
            outputs = module(*trial_inputs(spec.signature, dtype=None))
        except Exception as error:  # any error of the user's network at its new shape
            reason = f"{type(error).__name__}: {error}"
            msg = gettext(
                "the pruned network fails at {last_module!r} ({reason}); exclude this layer with protect: {layers}",
                last_module=last_module[0],
                reason=reason,
                layers=last_module,
            )
            raise ModelError(msg) from error
    for output, values in zip(spec.signature.outputs, name_outputs(outputs, spec.output_names).values(), strict=True):
        if not output.fits(tuple(values.shape), batch=2):
            shape, expected = tuple(values.shape), (2, *output.sample_shape)
            msg = gettext(
                "the pruned network returns an output of shape {shape}, expected {expected}", shape=shape, expected=expected
            )
            raise ModelError(gettext("{msg}; exclude its output layer with protect", msg=msg))
