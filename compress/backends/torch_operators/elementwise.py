"""Elementwise arithmetic, comparisons and activations."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from compress.backends.torch_operators.values import Attributes, Inputs, Operator, pairwise, unary


def _divide(a: Tensor, b: Tensor) -> Tensor:
    return a / b if a.is_floating_point() else torch.div(a, b, rounding_mode="trunc")


def _modulo(attributes: Attributes, x: Inputs) -> Tensor:
    function = torch.fmod if attributes.integer("fmod", 0) else torch.remainder
    return function(x.tensor(0), x.tensor(1))


def _power(_: Attributes, x: Inputs) -> Tensor:
    base, exponent = x.tensor(0), x.number(1)
    power = torch.pow(base, x.tensor(1) if exponent is None else exponent)
    return power.to(base.dtype)


def _mean(_: Attributes, x: Inputs) -> Tensor:
    tensors = x.tensors()
    total = tensors[0]
    for tensor in tensors[1:]:
        total = total + tensor
    return total / len(tensors)


def clip(attributes: Attributes, x: Inputs) -> Tensor:
    """Clamp; the bounds are inputs, or attributes before opset 11."""
    values = x.tensor(0)
    low, high = (x.optional(index) for index in (1, 2))
    if low is None and "min" in attributes:
        low = values.new_tensor(attributes.number("min", 0.0))
    if high is None and "max" in attributes:
        high = values.new_tensor(attributes.number("max", 0.0))
    return values if low is None and high is None else torch.clamp(values, low, high)


def _where(_: Attributes, x: Inputs) -> Tensor:
    return torch.where(x.tensor(0).bool(), x.tensor(1), x.tensor(2))


def _hard_sigmoid(attributes: Attributes, x: Inputs) -> Tensor:
    return torch.clamp(attributes.number("alpha", 0.2) * x.tensor(0) + attributes.number("beta", 0.5), 0, 1)


def _gelu(attributes: Attributes, x: Inputs) -> Tensor:
    return F.gelu(x.tensor(0), approximate=attributes.text("approximate", "none"))


def _swish(attributes: Attributes, x: Inputs) -> Tensor:
    return x.tensor(0) * torch.sigmoid(attributes.number("alpha", 1.0) * x.tensor(0))


def _selu(attributes: Attributes, x: Inputs) -> Tensor:
    alpha, gamma = attributes.number("alpha", 1.6732632), attributes.number("gamma", 1.050701)
    return gamma * F.elu(x.tensor(0), alpha)


def _thresholded_relu(attributes: Attributes, x: Inputs) -> Tensor:
    return torch.where(x.tensor(0) > attributes.number("alpha", 1.0), x.tensor(0), 0.0)


def _shrink(attributes: Attributes, x: Inputs) -> Tensor:
    values, limit, bias = x.tensor(0), attributes.number("lambd", 0.5), attributes.number("bias", 0.0)
    return torch.where(values < -limit, values + bias, torch.where(values > limit, values - bias, 0.0))


def _softplus(x: Tensor) -> Tensor:
    return F.softplus(x)


def _with_axis(function: Callable[..., Tensor]) -> Operator:
    return lambda attributes, x: function(x.tensor(0), attributes.integer("axis", -1))


def _p_relu(a: Tensor, slope: Tensor) -> Tensor:
    return torch.where(a >= 0, a, a * slope)


ELEMENTWISE_OPERATORS: dict[str, Operator] = {
    **{name: pairwise(function) for name, function in (
        ("Add", torch.add), ("Sub", torch.sub), ("Mul", torch.mul), ("Div", _divide), ("Sum", torch.add),
        ("Min", torch.minimum), ("Max", torch.maximum), ("Equal", torch.eq), ("Less", torch.lt), ("LessOrEqual", torch.le),
        ("Greater", torch.gt), ("GreaterOrEqual", torch.ge), ("And", torch.logical_and), ("Or", torch.logical_or),
        ("Xor", torch.logical_xor), ("PRelu", _p_relu),
    )},
    **{name: unary(function) for name, function in (
        ("Abs", torch.abs), ("Neg", torch.neg), ("Reciprocal", torch.reciprocal), ("Sqrt", torch.sqrt), ("Exp", torch.exp),
        ("Log", torch.log), ("Erf", torch.erf), ("Sign", torch.sign), ("Floor", torch.floor), ("Ceil", torch.ceil),
        ("Round", torch.round), ("Not", torch.logical_not), ("Sin", torch.sin), ("Cos", torch.cos), ("Tan", torch.tan),
        ("Asin", torch.asin), ("Acos", torch.acos), ("Atan", torch.atan), ("Sinh", torch.sinh), ("Cosh", torch.cosh),
        ("Tanh", torch.tanh), ("Asinh", torch.asinh), ("Acosh", torch.acosh), ("Atanh", torch.atanh), ("IsNaN", torch.isnan),
        ("Relu", torch.relu), ("Sigmoid", torch.sigmoid), ("HardSwish", F.hardswish), ("Softplus", _softplus),
        ("Softsign", F.softsign), ("Mish", F.mish),
    )},
    "Mod": _modulo,
    "Pow": _power,
    "Mean": _mean,
    "Clip": clip,
    "Where": _where,
    "HardSigmoid": _hard_sigmoid,
    "LeakyRelu": lambda attributes, x: F.leaky_relu(x.tensor(0), attributes.number("alpha", 0.01)),
    "Elu": lambda attributes, x: F.elu(x.tensor(0), attributes.number("alpha", 1.0)),
    "Celu": lambda attributes, x: F.celu(x.tensor(0), attributes.number("alpha", 1.0)),
    "Selu": _selu,
    "ThresholdedRelu": _thresholded_relu,
    "Shrink": _shrink,
    "Gelu": _gelu,
    "Swish": _swish,
    "Softmax": _with_axis(torch.softmax),
    "LogSoftmax": _with_axis(torch.log_softmax),
}  # fmt: skip
