"""Replacement of HardSwish, SiLU and GELU by ReLU6 or ReLU.

    HardSwish(x) = x · clip(x / 6 + 1/2, 0, 1)     SiLU(x) = x σ(x)     GELU(x) = x Φ(x)     →     ReLU6(x) = clip(x, 0, 6)

ReLU: the minimalistic networks of Howard et al. 2019, "Searching for MobileNetV3", arXiv:1905.02244. ReLU6, whose bounded range
suits int8: Liu 2020, "Higher accuracy on vision models with EfficientNet-Lite". Every runtime fuses ReLU into the preceding
convolution. The other activations are separate passes over memory, and ONNX Runtime has no integer kernel for them.

An activation is identified by its values, not by its class name, so that activations of timm and of the user are recognised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from compress.core.fact import Fact
from compress.core.language import gettext
from compress.models.module_replacement import REPLACEABLE
from compress.substitute.trace_calls import CallTrace, FunctionCall

ACTIVATION_FUNCTIONS: Mapping[str, tuple[Callable[[Tensor], Tensor], ...]] = {
    "hardswish": (F.hardswish,),
    "silu": (F.silu,),
    "gelu": (F.gelu, lambda x: F.gelu(x, approximate="tanh"), lambda x: x * torch.sigmoid(1.702 * x)),
}
"""Functions by name; the third GELU is Hendrycks & Gimpel 2016, arXiv:1606.08415, section 2."""
_CALLED: Mapping[Callable[..., object], str] = {F.hardswish: "hardswish", F.silu: "silu", F.gelu: "gelu"}
_NAMES = {"hardswish": "Hardswish", "silu": "SiLU", "gelu": "GELU"}
_SIGMOIDS = (torch.sigmoid, F.sigmoid, Tensor.sigmoid, Tensor.sigmoid_)
_PRODUCTS = (torch.mul, Tensor.mul, Tensor.mul_, Tensor.__mul__, Tensor.__imul__, Tensor.__rmul__)
_GRID = torch.linspace(-8.0, 8.0, 2 * 8 * 16).reshape(2, 8, 4, 4)
_TOLERANCE = 1e-4


@torch.no_grad()
def activation_kind(part: nn.Module) -> str | None:
    """Kind of activation that a module computes, by its values over [−8, 8]; None for any other module.

    Args:
        part: Any module; one with parameters, buffers or submodules is no plain activation.
    """
    if any(part.children()) or any(True for _ in part.parameters()) or any(True for _ in part.buffers()):
        return None
    if isinstance(part, (nn.Identity, nn.Flatten, nn.Dropout)):
        return None
    try:
        values = part(_GRID.clone())
    except Exception:  # the module takes something else than one tensor
        return None
    if not isinstance(values, Tensor) or values.shape != _GRID.shape:
        return None
    functions = ((kind, function) for kind, forms in ACTIVATION_FUNCTIONS.items() for function in forms)
    return next((kind for kind, function in functions if _is_close(values, function(_GRID))), None)


def _is_close(a: Tensor, b: Tensor) -> bool:
    return bool((a - b).abs().max() <= _TOLERANCE)


def activation_modules(network: nn.Module) -> dict[str, str]:
    """Kind of each activation module by name; a shared module is listed under each of its names."""
    kinds = {part: activation_kind(part) for part in network.modules()}
    named = network.named_modules(remove_duplicate=False)
    return {name: kind for name, part in named if name and (kind := kinds[part])}


def activation_functions(network: nn.Module, trace: CallTrace) -> tuple[dict[str, str], dict[tuple[str, str], Fact]]:
    """Activations that are called as functions, not as modules.

    Args:
        network: The network.
        trace: Calls of one forward pass.

    Returns:
        Kind by name of the attribute that holds the function. For calls written into a `forward`, which cannot be replaced: the
        reason by name of the module and kind.
    """
    known = activation_modules(network)
    attribute_kinds: dict[str, str] = {}
    irreplaceable: dict[tuple[str, str], Fact] = {}
    for name, kind, call in _calls(trace):
        if name in known:
            continue
        part = network.get_submodule(name)
        attributes = [key for key, value in vars(part).items() if value is call.function and value in REPLACEABLE]
        if attributes:
            attribute_kinds |= {f"{name}.{key}".lstrip("."): kind for key in attributes}
        else:
            layer = name or gettext("the network itself")
            irreplaceable[layer, kind] = Fact.of(
                "substitute.called_as_function", layer, kind=kind, type=type(part).__name__, module=_NAMES[kind]
            )
    return attribute_kinds, irreplaceable


def _calls(trace: CallTrace) -> Iterator[tuple[str, str, FunctionCall]]:
    """Calls of an activation: name of the module, kind, call."""
    gates: dict[int, Tensor] = {}
    for call in trace.calls:
        if call.function in _CALLED:
            yield call.module, _CALLED[call.function], call
        elif call.function in _SIGMOIDS and call.inputs:
            gates[id(call.output)] = call.inputs[0]
        elif call.function in _PRODUCTS and len(call.inputs) == 2:
            a, b = call.inputs
            if gates.get(id(a)) is b or gates.get(id(b)) is a:
                yield call.module, "silu", call
