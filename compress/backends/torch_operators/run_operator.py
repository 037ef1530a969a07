"""Run one ONNX operator in torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from compress.backends.torch_operators.convolution import CONVOLUTION_OPERATORS
from compress.backends.torch_operators.elementwise import ELEMENTWISE_OPERATORS
from compress.backends.torch_operators.layout import LAYOUT_OPERATORS
from compress.backends.torch_operators.linear_algebra import ALGEBRA_OPERATORS
from compress.backends.torch_operators.recurrent import RECURRENT_OPERATORS
from compress.backends.torch_operators.resize import RESIZE_OPERATORS
from compress.backends.torch_operators.shape_numbers import NUMBER_OPERATORS, NotNumbersError, cut_shape
from compress.backends.torch_operators.values import Attributes, Inputs, Numbers, Operator, Output, Value


def _shape(attributes: Attributes, x: Inputs) -> Numbers:
    return cut_shape(attributes, x.tensor(0).shape)


def _size(_: Attributes, x: Inputs) -> Numbers:
    return np.asarray(x.tensor(0).numel())


OPERATORS: dict[str, Operator] = {
    **CONVOLUTION_OPERATORS,
    **ELEMENTWISE_OPERATORS,
    **ALGEBRA_OPERATORS,
    **LAYOUT_OPERATORS,
    **RESIZE_OPERATORS,
    **RECURRENT_OPERATORS,
    "Shape": _shape,
    "Size": _size,
}
"""Functions by operator type; those with a differentiable result have gradients."""


def run_operator(operator: str, attributes: Attributes, inputs: Sequence[Value]) -> tuple[Output, ...]:
    """All outputs of an operator.

    Args:
        operator: Operator type, a key of `OPERATORS`.
        attributes: Attributes of the node.
        inputs: Inputs in the order of the node.

    Raises:
        NotImplementedError: The value of an attribute is not supported; the message names it.
    """
    numbers = [value for value in inputs if isinstance(value, np.ndarray) or value is None]
    if len(numbers) == len(inputs) and operator in NUMBER_OPERATORS:
        try:
            computed = NUMBER_OPERATORS[operator](attributes, numbers)
        except NotNumbersError:
            pass
        else:
            return computed if isinstance(computed, tuple) else (computed,)
    result = OPERATORS[operator](attributes, Inputs(inputs))
    return result if isinstance(result, tuple) else (result,)
