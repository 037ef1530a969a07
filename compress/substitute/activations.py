"""HardSwish, SiLU and GELU replaced by ReLU6 or ReLU.

    HardSwish(x) = x · clip(x / 6 + 1/2, 0, 1)     SiLU(x) = x σ(x)     GELU(x) = x Φ(x)     →     ReLU6(x) = clip(x, 0, 6)

as the minimalistic networks of Howard et al. 2019, "Searching for MobileNetV3", arXiv:1905.02244 (ReLU), and EfficientNet-Lite
(Liu 2020, "Higher accuracy on vision models with EfficientNet-Lite": ReLU6, whose bounded range int8 holds well) have it.
ReLU vanishes into the convolution before it, in every runtime; the others are passes over memory of their own, and ONNX Runtime
has no integer kernel of any of them.

What an activation is, is told by its values, not by its name, so that those of timm and of the user's own are found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from compress.core.record import Fact
from compress.models.module_replacement import REPLACEABLE
from compress.substitute.trace_calls import CallTrace, FunctionCall

ACTIVATION_FUNCTIONS: Mapping[str, tuple[Callable[[Tensor], Tensor], ...]] = {
    "hardswish": (F.hardswish,),
    "silu": (F.silu,),
    "gelu": (F.gelu, lambda x: F.gelu(x, approximate="tanh"), lambda x: x * torch.sigmoid(1.702 * x)),
}
"""Functions that are called so; the third GELU is Hendrycks & Gimpel 2016, arXiv:1606.08415, section 2."""
_CALLED: Mapping[Any, str] = {F.hardswish: "hardswish", F.silu: "silu", F.gelu: "gelu"}
_NAMES = {"hardswish": "Hardswish", "silu": "SiLU", "gelu": "GELU"}
_SIGMOIDS = (torch.sigmoid, F.sigmoid, Tensor.sigmoid, Tensor.sigmoid_)
_PRODUCTS = (torch.mul, Tensor.mul, Tensor.mul_, Tensor.__mul__, Tensor.__imul__, Tensor.__rmul__)
_GRID = torch.linspace(-8.0, 8.0, 2 * 8 * 16).reshape(2, 8, 4, 4)
_TOLERANCE = 1e-4


@torch.no_grad()
def activation_kind(part: nn.Module) -> str | None:
    """Which activation a module is, by its values over [−8, 8]; None for any other module.

    Args:
        part: Any module; one with parameters, buffers or parts of its own is no plain activation.
    """
    if any(part.children()) or any(True for _ in part.parameters()) or any(True for _ in part.buffers()):
        return None
    if isinstance(part, (nn.Identity, nn.Flatten, nn.Dropout)):
        return None
    try:
        found = part(_GRID.clone())
    except Exception:  # takes something else than one tensor
        return None
    if not isinstance(found, Tensor) or found.shape != _GRID.shape:
        return None
    return next((name for name, ways in ACTIVATION_FUNCTIONS.items() if any(_equal(found, way(_GRID)) for way in ways)), None)


def _equal(one: Tensor, other: Tensor) -> bool:
    return bool((one - other).abs().max() <= _TOLERANCE)


def activation_modules(network: nn.Module) -> dict[str, str]:
    """Kind of each activation module by name; one that stands in several places under each of them."""
    kinds = {part: activation_kind(part) for part in network.modules()}
    named = network.named_modules(remove_duplicate=False)
    return {name: kind for name, part in named if name and (kind := kinds[part])}


def activation_functions(network: nn.Module, trace: CallTrace) -> tuple[dict[str, str], dict[tuple[str, str], Fact]]:
    """Activations that are called as functions, not as modules.

    Args:
        network: The network.
        trace: A pass of it.

    Returns:
        Kind by name of the attribute that holds the function; and, of those written into a `forward`, the reason why they stay,
        by name of the module and kind.
    """
    known = activation_modules(network)
    held: dict[str, str] = {}
    written: dict[tuple[str, str], Fact] = {}
    for name, kind, call in _calls(trace):
        if name in known:
            continue
        part = network.get_submodule(name)
        attributes = [key for key, value in vars(part).items() if value is call.function and value in REPLACEABLE]
        if attributes:
            held |= {f"{name}.{key}".lstrip("."): kind for key in attributes}
        else:
            place = name or "the network itself"
            written[place, kind] = Fact.of(
                "substitute.called_as_function", place, kind=kind, type=type(part).__name__, module=_NAMES[kind]
            )
    return held, written


def _calls(trace: CallTrace) -> Iterator[tuple[str, str, FunctionCall]]:
    """Calls of an activation: name of the module, kind, call."""
    gates: dict[int, Tensor] = {}
    for call in trace.calls:
        if call.function in _CALLED:
            yield call.module, _CALLED[call.function], call
        elif call.function in _SIGMOIDS and call.inputs:
            gates[id(call.output)] = call.inputs[0]
        elif call.function in _PRODUCTS and len(call.inputs) == 2:
            one, other = call.inputs
            if gates.get(id(one)) is other or gates.get(id(other)) is one:
                yield call.module, "silu", call
