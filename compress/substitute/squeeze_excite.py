"""Removal of squeeze-excite gates; a neighbouring layer absorbs the mean gate.

    y = s(x) ⊙ x,   s(x) = gate(mean over height and width of x)        Hu et al. 2018, arXiv:1709.01507, eq. 3 and 4

For each sample the gate is one number per channel. The constant that approximates it best on the training images,

    k_c = argmin_k Σ_n ‖s_nc x_nc − k x_nc‖² = Σ_n s_nc E_nc ÷ Σ_n E_nc = Σ_n ⟨x_nc, y_nc⟩ ÷ Σ_n ⟨x_nc, x_nc⟩

is the mean of the gate weighted by the energy E_nc = ‖x_nc‖². A convolution is linear in its input, and a batch norm or
convolution is linear in its scale, so a layer after or before the gate absorbs k:

    W (k ⊙ x) = (W diag k) x            or           k ⊙ (γ x̂ + β) = (k ⊙ γ) x̂ + k ⊙ β

EfficientNet-Lite, EfficientNet-EdgeTPU (Gupta & Tan 2019) and the minimalistic MobileNetV3 (arXiv:1905.02244) have no
squeeze-excite: the global pooling stalls an accelerator, and the latency of the small layers is overhead.

Symbols: x (N, C, H, W) input of the gate; y output; n sample; c channel; s gate, usually in [0, 1]; k (C,).
A gate is identified by its function, not by its class: it multiplies every channel by a number that depends on the sample and
not on the position.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from compress.core.fact import Fact
from compress.core.language import gettext
from compress.models.module_replacement import set_submodule
from compress.substitute.trace_calls import CallTrace, ModuleCall, run_hooks

_SIDE = 5
_TOLERANCE = 1e-4
_KNOWN = ("SqueezeExcitation", "SqueezeExcite", "SqueezeExciteCl", "SEModule", "EffectiveSEModule")
"""Class names in torchvision and timm; such a module is a gate even if its output is constant."""


@dataclass(frozen=True)
class AbsorbTarget:
    """The layer that absorbs a mean gate.

    Attributes:
        layer: Name of the layer; empty if there is none.
        side: `in` for the input channels of a layer after the gate, `out` for the output channels of a layer before it.
        reasons: Reasons why there is none, after and before the gate.
    """

    layer: str = ""
    side: str = ""
    reasons: tuple[Fact, ...] = ()


def find_gates(network: nn.Module, trace: CallTrace) -> tuple[str, ...]:
    """Names of the gates in the order of the pass; of nested gates the innermost."""
    inner: list[str] = []
    for module_call in trace.module_calls:
        x, y = module_call.x, module_call.y
        maps = (
            x is not None and y is not None and x.ndim == 4 and x.shape == y.shape and module_call.last - module_call.first >= 2
        )
        if (
            maps
            and module_call.module not in inner
            and x is not None
            and is_gate(network.get_submodule(module_call.module), x.shape[1])
        ):
            inner.append(module_call.module)
    return tuple(name for name in inner if not any(other.startswith(f"{name}.") for other in inner))


@torch.no_grad()
def is_gate(part: nn.Module, channels: int) -> bool:
    """Whether a module multiplies each channel by a number that depends on the sample.

    Args:
        part: In eval mode; takes (N, C, H, W).
        channels: C.
    """
    if not any(True for _ in part.parameters()):
        return False
    if type(part).__name__ in _KNOWN:
        return True
    draw = torch.Generator().manual_seed(0)
    like = next(part.parameters())
    x = torch.rand(6, channels, _SIDE, _SIDE, generator=draw) + 0.5
    x = (x * torch.randn(6, channels, 1, 1, generator=draw).exp()).to(like)
    try:
        y = part(x.clone())
    except Exception:  # the module takes other shapes
        return False
    if not isinstance(y, Tensor) or y.shape != x.shape:
        return False
    s = y / x
    middle = s.mean((2, 3), keepdim=True)
    flat = bool(((s - middle).abs() <= _TOLERANCE * middle.abs().clamp(min=1.0)).all())
    return flat and bool(middle.std(0).max() > _TOLERANCE)


@dataclass(frozen=True, eq=False)
class MeanGate:
    """Constant approximation of a gate.

    Attributes:
        k: Factors, (C,), float32; 1 for a channel whose input is 0.
        explained: R² of k ⊙ x as an approximation of y, over all channels: 1 − Σ ‖y − k x‖² ÷ Σ ‖y‖².
        explained_by_one: R² of x as an approximation of y.
    """

    k: Tensor
    explained: float
    explained_by_one: float


def mean_gates(network: nn.Module, names: Sequence[str], batches: Sequence[Tensor]) -> dict[str, MeanGate]:
    """Constant approximation of each gate.

    Args:
        network: In eval mode.
        names: Names of its gates.
        batches: Training images.
    """
    sums: dict[str, Tensor] = {}

    def add(name: str, x: Tensor, y: Tensor) -> None:
        x, y = x.double(), y.double()
        new = torch.stack([(x * y).sum((0, 2, 3)), x.square().sum((0, 2, 3)), y.square().sum((0, 2, 3))])
        sums[name] = sums[name] + new if name in sums else new

    run_hooks(network, names, batches, add)
    return {name: _mean_gate(*sums[name]) for name in names}


def _mean_gate(xy: Tensor, xx: Tensor, yy: Tensor) -> MeanGate:
    k = torch.where(xx > 0, xy / xx.clamp(min=1e-30), torch.ones_like(xx))
    whole = yy.sum().clamp(min=1e-30)
    return MeanGate(k.float(), float((k * xy).sum() / whole), float((2 * xy - xx).sum() / whole))


def find_absorb_target(network: nn.Module, trace: CallTrace, name: str) -> AbsorbTarget:
    """The layer that can absorb the mean of a gate without a change of the function; or the reasons why there is none.

    Args:
        network: In eval mode.
        trace: Calls of one forward pass.
        name: Name of the gate.
    """
    module_call = next(call for call in trace.module_calls if call.module == name)
    if trace.times(name) != 1:
        return AbsorbTarget(reasons=(Fact.of("substitute.gate_runs_repeatedly", name, times=trace.times(name)),))
    after = _next(network, trace, module_call)
    if after.layer:
        return after
    before = _previous(network, trace, module_call)
    return before if before.layer else AbsorbTarget(reasons=(*after.reasons, *before.reasons))


def _next(network: nn.Module, trace: CallTrace, module_call: ModuleCall) -> AbsorbTarget:
    gate = module_call.module
    readers = {call.module for call in trace.consumers(module_call.y, module_call.last)} if module_call.y is not None else set()
    if len(readers) != 1:
        return AbsorbTarget(reasons=(Fact.of("substitute.gate_output_shared", gate, modules=len(readers)),))
    (layer,) = readers
    part = network.get_submodule(layer)
    if not isinstance(part, nn.Conv2d):
        return AbsorbTarget(
            reasons=(Fact.of("substitute.gate_output_no_convolution", gate, layer=layer or gettext("the network itself")),)
        )
    if not trace.uses_weight(part):
        return AbsorbTarget(reasons=(Fact.of("substitute.absorbing_layer_weight", gate, layer=layer),))
    if trace.times(layer) != 1 or _shared(network, part.weight):
        return AbsorbTarget(reasons=(Fact.of("substitute.absorbing_layer_shared", gate, layer=layer),))
    return AbsorbTarget(layer, "in")


def _previous(network: nn.Module, trace: CallTrace, module_call: ModuleCall) -> AbsorbTarget:
    gate = module_call.module
    call = trace.producer(module_call.x, module_call.first) if module_call.x is not None else None
    part = network.get_submodule(call.module) if call is not None and call.module else None
    if call is None or not isinstance(part, (nn.Conv2d, nn.BatchNorm2d)) or not trace.uses_weight(part):
        return AbsorbTarget(reasons=(Fact.of("substitute.gate_input_no_layer", gate),))
    inside = trace.consumers(call.output, trace.calls.index(call) + 1)
    if any(not f"{consumer.module}.".startswith(f"{module_call.module}.") for consumer in inside):
        return AbsorbTarget(reasons=(Fact.of("substitute.gate_input_used_elsewhere", gate, layer=call.module),))
    if trace.times(call.module) != 1 or _shared(network, part.weight):
        return AbsorbTarget(reasons=(Fact.of("substitute.absorbing_layer_shared", gate, layer=call.module),))
    return AbsorbTarget(call.module, "out")


def _shared(network: nn.Module, weight: Tensor) -> bool:
    return sum(parameter is weight for _, parameter in network.named_parameters(remove_duplicate=False)) != 1


@torch.no_grad()
def absorb(layer: nn.Module, k: Tensor, side: str) -> None:
    """Multiply channels of a layer, in place.

    Args:
        layer: Convolution; for `out` also batch norm.
        k: Factors, (C,).
        side: `in` or `out`.
    """
    weight = layer.get_parameter("weight")
    if side == "out":
        weight.mul_(k.to(weight).reshape(-1, *[1] * (weight.ndim - 1)))
        if getattr(layer, "bias", None) is not None:
            layer.get_parameter("bias").mul_(k.to(weight))
        return
    groups = int(layer.groups)  # type: ignore[arg-type]  # an int, which nn.Module does not declare
    by_group = k.to(weight).reshape(groups, 1, -1, *[1] * (weight.ndim - 2))
    weight.mul_(by_group.expand(-1, weight.shape[0] // groups, *[-1] * (weight.ndim - 1)).flatten(0, 1))


def remove(network: nn.Module, name: str, k: Tensor, target: AbsorbTarget) -> None:
    """Remove one gate of a network, in place; without a target its mean is dropped."""
    set_submodule(network, {name: "identity"})
    if target.layer:
        absorb(network.get_submodule(target.layer), k, target.side)
