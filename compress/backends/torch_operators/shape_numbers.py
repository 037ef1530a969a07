"""Operators on numbers that do not depend on the inputs' values, such as shapes and axes; in NumPy, with symbolic sizes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir
import torch

from compress.backends.torch_operators.layout import constant
from compress.backends.torch_operators.values import Attributes, Numbers
from compress.core.language import gettext

NumberInputs = Sequence[Numbers | None]
NumberOperator = Callable[[Attributes, NumberInputs], Numbers | tuple[Numbers, ...]]
LARGEST = 4096
"""Largest number of elements of a constant in NumPy; a larger one becomes a tensor."""


def _required(x: NumberInputs, index: int) -> Numbers:
    value = x[index]
    if value is None:
        msg = gettext("omitted input {index}", index=index)
        raise NotImplementedError(msg)
    return value


def _listed(x: NumberInputs, index: int) -> list[int]:
    value = x[index] if len(x) > index else None
    return [] if value is None else value.reshape(-1).tolist()


def _each(function: Callable[[object], object], numbers: Numbers) -> Numbers:
    """Apply a function to each number; sizes may be symbolic."""
    result = np.empty(numbers.shape, object)
    result.reshape(-1)[:] = [function(number) for number in numbers.reshape(-1).tolist()]
    return plain(result)


def plain(numbers: Numbers) -> Numbers:
    """Convert an array of type object to bool, float32 or int64, unless it contains a symbolic size."""
    values = numbers.reshape(-1).tolist()
    if numbers.dtype != object or any(isinstance(value, (torch.SymInt, torch.SymFloat, torch.SymBool)) for value in values):
        return numbers
    kinds = {type(value) for value in values}
    dtype = bool if kinds == {bool} else np.float32 if float in kinds else np.int64
    return numbers.astype(dtype)


def shape_of(sizes: Sequence[int]) -> Numbers:
    """A shape as numbers."""
    numbers = np.empty(len(sizes), object)
    numbers[:] = list(sizes)
    return plain(numbers)


def _cast(attributes: Attributes, x: NumberInputs) -> Numbers:
    dtype, numbers = ir.DataType(attributes.integer("to", 1)), _required(x, 0)
    if numbers.dtype != object:
        return numbers.astype(np.float32 if dtype.is_floating_point() else dtype.numpy())
    convert = torch.sym_float if dtype.is_floating_point() else torch.sym_int
    return _each(convert, numbers)


def _divide(a: Numbers, b: Numbers) -> Numbers:
    """Quotient of floats, or of integers, rounded down; ONNX rounds towards zero, but sizes are not negative."""
    if a.dtype == object or b.dtype == object:
        return np.asarray(np.frompyfunc(_quotient, 2, 1)(a, b))
    return np.asarray(a // b if a.dtype.kind in "iu" else a / b)


def _quotient(a: float, b: float) -> float:
    return a / b if isinstance(a, (float, torch.SymFloat)) else a // b


def _pair(function: Callable[[Numbers, Numbers], Numbers]) -> NumberOperator:
    def apply(_: Attributes, x: NumberInputs) -> Numbers:
        first = _required(x, 0)
        for index in range(1, len(x)):
            first = np.asarray(function(first, _required(x, index)))
        return plain(first)

    return apply


def _one(function: Callable[[float], float]) -> NumberOperator:
    return lambda _, x: _each(lambda number: function(number), _required(x, 0))  # type: ignore[arg-type]  # a number


def _gather(attributes: Attributes, x: NumberInputs) -> Numbers:
    return np.asarray(np.take(_required(x, 0), _required(x, 1).astype(np.int64), axis=attributes.integer("axis", 0)))


def _slice(_: Attributes, x: NumberInputs) -> Numbers:
    numbers = _required(x, 0)
    starts, ends = _listed(x, 1), _listed(x, 2)
    axes, steps = _listed(x, 3) or list(range(len(starts))), _listed(x, 4) or [1] * len(starts)
    cuts = [slice(None)] * numbers.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        cuts[axis] = slice(start, None if step < 0 and end < -numbers.shape[axis] else end, step)
    return numbers[tuple(cuts)]


def _axes(attributes: Attributes, x: NumberInputs) -> tuple[int, ...]:
    return tuple(_listed(x, 1)) or attributes.integers("axes") or ()


def _squeeze(attributes: Attributes, x: NumberInputs) -> Numbers:
    return np.squeeze(_required(x, 0), _axes(attributes, x) or None)


def _unsqueeze(attributes: Attributes, x: NumberInputs) -> Numbers:
    return np.expand_dims(_required(x, 0), _axes(attributes, x))


def _concat(attributes: Attributes, x: NumberInputs) -> Numbers:
    parts = [_required(x, index) for index in range(len(x))]
    if any(part.dtype == object for part in parts):
        parts = [part.astype(object) for part in parts]
    return plain(np.concatenate(parts, attributes.integer("axis", 0)))


def _split(attributes: Attributes, x: NumberInputs) -> tuple[Numbers, ...]:
    numbers, axis = _required(x, 0), attributes.integer("axis", 0)
    sizes = _listed(x, 1) or attributes.integers("split")
    if sizes:
        return tuple(np.split(numbers, np.cumsum(sizes)[:-1], axis))
    return tuple(np.array_split(numbers, attributes.integer("num_outputs", 1), axis))


def _where(_: Attributes, x: NumberInputs) -> Numbers:
    condition = _required(x, 0).astype(bool)
    return plain(np.where(condition, _required(x, 1).astype(object), _required(x, 2).astype(object)))


def _reduction(function: Callable[..., Numbers]) -> NumberOperator:
    def reduce(attributes: Attributes, x: NumberInputs) -> Numbers:
        axes = _axes(attributes, x) or None
        return plain(np.asarray(function(_required(x, 0), axis=axes, keepdims=bool(attributes.integer("keepdims", 1)))))

    return reduce


def _constant_of_shape(attributes: Attributes, x: NumberInputs) -> Numbers:
    sizes, value = _listed(x, 0), attributes.array("value")
    fill = np.zeros(1, np.float32) if value is None else value
    if fill.dtype.kind == "f" or any(not isinstance(size, int) for size in sizes) or math.prod(sizes) > LARGEST:
        raise NotNumbersError
    return np.full(sizes, fill.item(), fill.dtype)


def _range(_: Attributes, x: NumberInputs) -> Numbers:
    start, end, step = (_required(x, index).item() for index in range(3))
    if not all(isinstance(each, (int, float)) for each in (start, end, step)):
        raise NotNumbersError
    return np.arange(start, end, step)


class NotNumbersError(Exception):
    """The result must be computed as a tensor."""


NUMBER_OPERATORS: dict[str, NumberOperator] = {
    "Identity": lambda _, x: _required(x, 0),
    "Constant": lambda attributes, _: constant(attributes),
    "Shape": lambda attributes, x: _shape_of_numbers(attributes, x),
    "Size": lambda _, x: np.asarray(_required(x, 0).size),
    "Cast": _cast,
    "Add": _pair(np.add),
    "Sub": _pair(np.subtract),
    "Mul": _pair(np.multiply),
    "Div": _pair(_divide),
    "Mod": _pair(np.mod),
    "Min": _pair(np.minimum),
    "Max": _pair(np.maximum),
    "Equal": _pair(lambda a, b: np.asarray(a == b)),
    "Less": _pair(lambda a, b: np.asarray(a < b)),
    "Greater": _pair(lambda a, b: np.asarray(a > b)),
    "Neg": _one(lambda number: -number),
    "Floor": _one(math.floor),
    "Ceil": _one(math.ceil),
    "Gather": _gather,
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Concat": _concat,
    "Split": _split,
    "Where": _where,
    "Reshape": lambda _, x: _required(x, 0).reshape(_listed(x, 1)),
    "Transpose": lambda attributes, x: _required(x, 0).transpose(attributes.integers("perm")),
    "Expand": lambda _, x: _required(x, 0) * np.ones(_listed(x, 1), np.int64),
    "ReduceProd": _reduction(np.prod),
    "ReduceSum": _reduction(np.sum),
    "ReduceMax": _reduction(np.max),
    "ReduceMin": _reduction(np.min),
    "ConstantOfShape": _constant_of_shape,
    "Range": _range,
}


def _shape_of_numbers(attributes: Attributes, x: NumberInputs) -> Numbers:
    return cut_shape(attributes, _required(x, 0).shape)


def cut_shape(attributes: Attributes, shape: Sequence[int]) -> Numbers:
    """Output of `Shape`: the sizes from `start` to `end`."""
    end = attributes.integer("end", len(shape)) if "end" in attributes else None
    return shape_of(list(shape)[attributes.integer("start", 0) : end])
