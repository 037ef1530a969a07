"""The table of operators: the light list of names is the same, and numbers stay numbers."""

from __future__ import annotations

import numpy as np
import torch

from compress.backends.torch_operators.run_operator import OPERATORS, run_operator
from compress.backends.torch_operators.shape_numbers import NUMBER_OPERATORS
from compress.backends.torch_operators.values import Attributes
from compress.backends.trainable_operators import TRAINABLE


def test_the_list_that_is_read_without_torch_is_the_table() -> None:
    assert OPERATORS.keys() == TRAINABLE
    assert NUMBER_OPERATORS.keys() <= OPERATORS.keys()


def test_a_large_constant_is_a_tensor_and_a_small_one_numbers() -> None:
    ones = Attributes({"value": np.ones(1, np.int64)})
    (small,) = run_operator("ConstantOfShape", ones, [np.array([4])])
    (large,) = run_operator("ConstantOfShape", ones, [np.array([100, 100])])
    assert isinstance(small, np.ndarray)
    assert isinstance(large, torch.Tensor)
    assert large.dtype == torch.int64
    assert bool(large.eq(1).all())
