"""Operators on shapes: the numbers of ONNX Runtime, and sizes that stay symbolic in an exported program."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from compress.backends.torch_operators.run_operator import run_operator
from compress.backends.torch_operators.values import Attributes
from tests.backends.torch_operators.single_node import IMAGE, check_operator, integers

SHAPE = integers(2, 4, 7, 9)
CASES = [
    ("Identity", [SHAPE], {}),
    ("Cast", [SHAPE], {"to": 1}),
    ("Cast", [np.array([1.5, 2.9], np.float32)], {"to": 7}),
    *((operator, [SHAPE, integers(3)], {}) for operator in ("Add", "Sub", "Mul", "Div", "Mod", "Min", "Max")),
    *((operator, [SHAPE, integers(4)], {}) for operator in ("Equal", "Less", "Greater")),
    ("Neg", [SHAPE], {}),
    ("Gather", [SHAPE, np.array(-1, np.int64)], {}),
    ("Gather", [SHAPE, integers(0, 3)], {}),
    ("Slice", [SHAPE, integers(1), integers(2**40), integers(0), integers(2)], {}),
    ("Slice", [SHAPE, integers(-1), integers(-9), integers(0), integers(-1)], {}),
    ("Squeeze", [integers(4), integers(0)], {}),
    ("Unsqueeze", [np.array(4, np.int64), integers(0)], {}),
    ("Concat", [SHAPE, integers(5)], {"axis": 0}),
    ("Where", [SHAPE > 3, SHAPE, integers(1)], {}),
    ("Reshape", [SHAPE, integers(2, 2)], {}),
    ("Transpose", [SHAPE.reshape(2, 2)], {"perm": [1, 0]}),
    ("Expand", [integers(3), integers(4)], {}),
    ("ReduceProd", [SHAPE, integers(0)], {"keepdims": 0}),
    ("ReduceSum", [SHAPE], {}),
    ("ReduceMax", [SHAPE], {"keepdims": 0}),
    ("ReduceMin", [SHAPE], {"keepdims": 0}),
    ("Range", [np.array(0, np.int64), np.array(4, np.int64), np.array(1, np.int64)], {}),
]


@pytest.mark.parametrize(("operator", "arrays", "attributes"), CASES)
def test_result_is_that_of_onnx_runtime(operator: str, arrays: list[np.ndarray], attributes: dict[str, object]) -> None:
    check_operator(operator, arrays, attributes)
    assert all(isinstance(array, np.ndarray) for array in run_operator(operator, Attributes(attributes), arrays)[:1])


def test_every_part_of_a_split_is_numbers() -> None:
    check_operator("Split", [SHAPE, integers(1, 3)], {}, outputs=2)


def test_shapes_of_tensors_are_numbers() -> None:
    (shape,) = run_operator("Shape", Attributes({"start": 1, "end": -1}), [torch.from_numpy(IMAGE)])
    assert isinstance(shape, np.ndarray)
    assert shape.tolist() == [4, 7]
    (size,) = run_operator("Size", Attributes({}), [torch.from_numpy(IMAGE)])
    assert int(size) == IMAGE.size


class Symbolic(nn.Module):
    """Shape → Gather → Mul → Concat → Reshape → Expand, as exporters write a reshape with a free batch."""

    def forward(self, x: Tensor) -> Tensor:
        shape = run_operator("Shape", Attributes({}), [x])[0]
        batch = run_operator("Gather", Attributes({"axis": 0}), [shape, integers(0)])[0]
        half = run_operator("Div", Attributes({}), [run_operator("Mul", Attributes({}), [batch, integers(4)])[0], integers(2)])[
            0
        ]
        rows = run_operator("Concat", Attributes({"axis": 0}), [half, integers(-1)])[0]
        y = run_operator("Reshape", Attributes({}), [x, rows])[0]
        assert isinstance(y, Tensor)
        ones = run_operator("ConstantOfShape", Attributes({}), [half])[0]
        assert isinstance(ones, Tensor)
        return y + ones[:, None]


def test_a_free_batch_stays_free_in_an_exported_program() -> None:
    network = Symbolic()
    example = (torch.randn(3, 4),)
    program = torch.export.export(network, example, dynamic_shapes=({0: torch.export.Dim("batch")},))
    other = torch.randn(5, 4)
    torch.testing.assert_close(program.module()(other), network(other))
