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
"""By operator type. All of them have gradients where their result depends smoothly on an input."""


def run_operator(operator: str, attributes: Attributes, inputs: Sequence[Value]) -> tuple[Output, ...]:
    """All outputs of one operator.

    Args:
        operator: Its type, in `OPERATORS`.
        attributes: Of the node.
        inputs: In the order of the node.

    Raises:
        NotImplementedError: An attribute has a value that has no torch function here; it is named.
    """
    numbers = [value for value in inputs if isinstance(value, np.ndarray) or value is None]
    if len(numbers) == len(inputs) and operator in NUMBER_OPERATORS:
        try:
            known = NUMBER_OPERATORS[operator](attributes, numbers)
        except NotNumbersError:
            pass
        else:
            return known if isinstance(known, tuple) else (known,)
    result = OPERATORS[operator](attributes, Inputs(inputs))
    return result if isinstance(result, tuple) else (result,)
