"""Arithmetic, comparisons and activations against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest

from compress.backends.torch_operators.elementwise import ELEMENTWISE_OPERATORS
from tests.backends.torch_operators.single_node import IMAGE, ROWS, check_operator, floats, normal

POSITIVE, UNIT, TRUTH = np.abs(ROWS) + 0.5, np.tanh(ROWS), ROWS > 0
SCALAR = np.array(0.3, np.float32)
ONE_INPUT = ["Abs", "Neg", "Exp", "Erf", "Sign", "Floor", "Ceil", "Round", "Sin", "Cos", "Tan", "Atan", "Sinh", "Cosh", "Tanh",
             "Asinh", "IsNaN", "Relu", "Sigmoid", "HardSwish", "Softplus", "Softsign", "Mish", "Gelu", "Selu"]  # fmt: skip
CASES = [
    *((operator, [2 * ROWS], {}) for operator in ONE_INPUT),
    *((operator, [POSITIVE], {}) for operator in ("Reciprocal", "Sqrt", "Log")),
    *((operator, [0.9 * UNIT], {}) for operator in ("Asin", "Acos", "Atanh")),
    ("Acosh", [POSITIVE + 1], {}),
    *((operator, [ROWS, normal(8)], {}) for operator in ("Add", "Sub", "Mul", "Div", "Sum", "Min", "Max", "Mean")),
    *((operator, [ROWS, SCALAR], {}) for operator in ("Add", "Mul", "Div", "Max")),
    ("Sum", [ROWS, ROWS, normal(3, 1)], {}),
    *((operator, [ROWS, np.sort(ROWS)], {}) for operator in ("Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual")),
    *((operator, [TRUTH, TRUTH[::-1].copy()], {}) for operator in ("And", "Or", "Xor")),
    ("Not", [TRUTH], {}),
    ("Where", [TRUTH, ROWS, normal(8)], {}),
    ("Mod", [ROWS, POSITIVE], {"fmod": 1}),
    ("Pow", [ROWS, np.array(2.0, np.float32)], {}),
    ("Pow", [POSITIVE, ROWS], {}),
    ("Clip", [ROWS, np.array(-0.5, np.float32), np.array(0.5, np.float32)], {}),
    ("Clip", [ROWS, None, np.array(0.5, np.float32)], {}),
    ("HardSigmoid", [ROWS], {"alpha": 0.3, "beta": 0.4}),
    ("HardSigmoid", [ROWS], {}),
    ("LeakyRelu", [ROWS], {"alpha": 0.2}),
    ("Elu", [ROWS], {"alpha": 0.5}),
    ("Celu", [ROWS], {"alpha": 0.5}),
    ("ThresholdedRelu", [ROWS], {"alpha": 0.2}),
    ("Shrink", [ROWS], {"lambd": 0.3, "bias": 0.1}),
    ("Gelu", [ROWS], {"approximate": "tanh"}),
    ("PRelu", [IMAGE, normal(4, 1, 1)], {}),
    ("PRelu", [ROWS, floats(0.1)], {}),
    ("Softmax", [ROWS], {"axis": 0}),
    ("LogSoftmax", [IMAGE], {"axis": 1}),
]


@pytest.mark.parametrize(("operator", "arrays", "attributes"), CASES)
def test_result_is_that_of_onnx_runtime(operator: str, arrays: list[np.ndarray | None], attributes: dict[str, object]) -> None:
    check_operator(operator, arrays, attributes)


def test_clip_of_old_operator_sets_reads_attributes() -> None:
    check_operator("Clip", [ROWS], {"min": -0.2, "max": 0.7}, opset=9)


def test_every_operator_has_a_case() -> None:
    assert ELEMENTWISE_OPERATORS.keys() - {case[0] for case in CASES} == {"Swish"}  # of operator set 24
