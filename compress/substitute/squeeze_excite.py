"""Squeeze-excite taken out, its mean gate going into the next layer.

    y = s(x) ⊙ x,   s(x) = gate(mean over height and width of x)        Hu et al. 2018, arXiv:1709.01507, eq. 3 and 4

For each sample the gate is one number a channel. The number that stands in for it best over the training images,

    k_c = argmin_k Σ_n ‖s_nc x_nc − k x_nc‖² = Σ_n s_nc E_nc ÷ Σ_n E_nc = Σ_n ⟨x_nc, y_nc⟩ ÷ Σ_n ⟨x_nc, x_nc⟩

is the mean of the gate weighted by the energy E_nc = ‖x_nc‖² that it acts on. A convolution is linear in its input, and a batch
norm or convolution in its scale, so

    W (k ⊙ x) = (W diag k) x            or           k ⊙ (γ x̂ + β) = (k ⊙ γ) x̂ + k ⊙ β

and nothing is left in the gate's place. EfficientNet-Lite and EfficientNet-EdgeTPU (Gupta & Tan 2019) leave squeeze-excite out,
as does the minimalistic MobileNetV3 (arXiv:1905.02244): a pooling over the whole map stalls an accelerator, and its small
layers are all overhead.

Symbols: x (N, C, H, W) what the gate is given; y what it gives; n sample; c channel; s in [0, 1] as a rule; k (C,).
A gate is told by what it does, not by its class: it multiplies every channel by a number that depends on the sample and not on
the place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from compress.models.module_replacement import place
from compress.substitute import fit_batches as samples
from compress.substitute.trace_calls import Flow, Visit

_SIDE = 5
_TOLERANCE = 1e-4
_KNOWN = ("SqueezeExcitation", "SqueezeExcite", "SqueezeExciteCl", "SEModule", "EffectiveSEModule")
"""Class names in torchvision and timm: taken for what they are even where the gate happens to be stuck."""


@dataclass(frozen=True)
class Home:
    """Where a mean gate goes.

    Attributes:
        layer: Name of the layer; empty where there is none.
        side: `in` for the input channels of a layer after it, `out` for the output channels of one before it.
        reason: Why there is none.
    """

    layer: str = ""
    side: str = ""
    reason: str = ""


def gates(network: nn.Module, flow: Flow) -> tuple[str, ...]:
    """Names of the modules that are gates, in the order of the pass; where one wraps another, the inner one."""
    inner: list[str] = []
    for visit in flow.visits:
        x, y = visit.x, visit.y
        maps = x is not None and y is not None and x.ndim == 4 and x.shape == y.shape and visit.last - visit.first >= 2
        if maps and visit.module not in inner and x is not None and is_gate(network.get_submodule(visit.module), x.shape[1]):
            inner.append(visit.module)
    return tuple(name for name in inner if not any(other.startswith(f"{name}.") for other in inner))


@torch.no_grad()
def is_gate(part: nn.Module, channels: int) -> bool:
    """Whether a module multiplies each channel by one number that depends on the sample.

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
    except Exception:  # takes other shapes
        return False
    if not isinstance(y, Tensor) or y.shape != x.shape:
        return False
    s = y / x
    middle = s.mean((2, 3), keepdim=True)
    flat = bool(((s - middle).abs() <= _TOLERANCE * middle.abs().clamp(min=1.0)).all())
    return flat and bool(middle.std(0).max() > _TOLERANCE)


@dataclass(frozen=True, eq=False)
class MeanGate:
    """What stands in for a gate.

    Attributes:
        k: Factors, (C,), float32; 1 for a channel that no image reaches.
        explained: R² of k ⊙ x as a stand-in for y, over all channels: 1 − Σ ‖y − k x‖² ÷ Σ ‖y‖².
        explained_by_one: R² of x itself.
    """

    k: Tensor
    explained: float
    explained_by_one: float


def mean_gates(network: nn.Module, names: Sequence[str], batches: Sequence[Tensor]) -> dict[str, MeanGate]:
    """What stands in for each gate.

    Args:
        network: In eval mode.
        names: Its gates.
        batches: Training images.
    """
    sums: dict[str, Tensor] = {}

    def seen(name: str, x: Tensor, y: Tensor) -> None:
        x, y = x.double(), y.double()
        new = torch.stack([(x * y).sum((0, 2, 3)), x.square().sum((0, 2, 3)), y.square().sum((0, 2, 3))])
        sums[name] = sums[name] + new if name in sums else new

    samples.look(network, names, batches, seen)
    return {name: _mean_gate(*sums[name]) for name in names}


def _mean_gate(xy: Tensor, xx: Tensor, yy: Tensor) -> MeanGate:
    k = torch.where(xx > 0, xy / xx.clamp(min=1e-30), torch.ones_like(xx))
    whole = yy.sum().clamp(min=1e-30)
    return MeanGate(k.float(), float((k * xy).sum() / whole), float((2 * xy - xx).sum() / whole))


def home_of(network: nn.Module, flow: Flow, name: str) -> Home:
    """Where the mean of a gate can go without changing what the network computes with it; `flow` is a pass of the network."""
    visit = next(one for one in flow.visits if one.module == name)
    if flow.times(name) != 1:
        return Home(reason=f"it runs {flow.times(name)} times in one pass")
    after = _next(network, flow, visit)
    if after.layer:
        return after
    before = _previous(network, flow, visit)
    return before if before.layer else Home(reason=f"{after.reason}, and {before.reason}")


def _next(network: nn.Module, flow: Flow, visit: Visit) -> Home:
    takers = {call.module for call in flow.consumers(visit.y, visit.last)} if visit.y is not None else set()
    if len(takers) != 1:
        return Home(reason=f"{len(takers)} modules take what it gives")
    (layer,) = takers
    part = network.get_submodule(layer)
    if not isinstance(part, nn.Conv2d):
        return Home(reason=f"what it gives goes to {layer or 'the network itself'}, which is no convolution")
    if not flow.uses_weight(part):
        return Home(reason=f"{layer} computes with another weight than its own")
    if flow.times(layer) != 1 or _shared(network, part.weight):
        return Home(reason=f"{layer} is used in several places")
    return Home(layer, "in")


def _previous(network: nn.Module, flow: Flow, visit: Visit) -> Home:
    call = flow.producer(visit.x, visit.first) if visit.x is not None else None
    part = network.get_submodule(call.module) if call is not None and call.module else None
    if call is None or not isinstance(part, (nn.Conv2d, nn.BatchNorm2d)) or not flow.uses_weight(part):
        return Home(reason="what it is given comes from no convolution or batch norm")
    inside = flow.consumers(call.output, flow.calls.index(call) + 1)
    if any(not f"{one.module}.".startswith(f"{visit.module}.") for one in inside):
        return Home(reason=f"what {call.module} gives goes elsewhere as well")
    if flow.times(call.module) != 1 or _shared(network, part.weight):
        return Home(reason=f"{call.module} is used in several places")
    return Home(call.module, "out")


def _shared(network: nn.Module, weight: Tensor) -> bool:
    return sum(one is weight for _, one in network.named_parameters(remove_duplicate=False)) != 1


@torch.no_grad()
def absorb(layer: nn.Module, k: Tensor, side: str) -> None:
    """Multiply channels of a layer, in place.

    Args:
        layer: Convolution, or for `out` a batch norm as well.
        k: Factors, (C,).
        side: `in` or `out`.
    """
    weight = layer.get_parameter("weight")
    if side == "out":
        weight.mul_(k.to(weight).reshape(-1, *[1] * (weight.ndim - 1)))
        if getattr(layer, "bias", None) is not None:
            layer.get_parameter("bias").mul_(k.to(weight))
        return
    groups = int(layer.groups)  # type: ignore[arg-type]  # a convolution's plain number
    parted = k.to(weight).reshape(groups, 1, -1, *[1] * (weight.ndim - 2))
    weight.mul_(parted.expand(-1, weight.shape[0] // groups, *[-1] * (weight.ndim - 1)).flatten(0, 1))


def remove(network: nn.Module, name: str, k: Tensor, home: Home) -> None:
    """Take one gate out of a network, in place; with no home its mean is dropped."""
    place(network, {name: "identity"})
    if home.layer:
        absorb(network.get_submodule(home.layer), k, home.side)
