"""LSTM and GRU against ONNX Runtime, and through gradients."""

from __future__ import annotations

import pytest
import torch

from compress.backends.torch_operators.run_operator import run_operator
from compress.backends.torch_operators.values import Attributes
from tests.backends.torch_operators.single_node import check_operator, normal

STEPS, SAMPLES, INPUTS, HIDDEN = 5, 3, 4, 6


def weights(gates: int, directions: int, *, bias: bool = True) -> list:
    rows = gates * HIDDEN
    own = [normal(directions, rows, INPUTS), normal(directions, rows, HIDDEN)]
    return [normal(STEPS, SAMPLES, INPUTS), *own, normal(directions, 2 * rows) if bias else None]


@pytest.mark.parametrize("directions", [1, 2])
def test_lstm(directions: int) -> None:
    state = [normal(directions, SAMPLES, HIDDEN), normal(directions, SAMPLES, HIDDEN)]
    attributes = {"hidden_size": HIDDEN, "direction": "forward" if directions == 1 else "bidirectional"}
    check_operator("LSTM", [*weights(4, directions), None, *state], attributes, outputs=3)
    check_operator("LSTM", weights(4, directions, bias=False)[:3], attributes, outputs=3)


@pytest.mark.parametrize("directions", [1, 2])
def test_gru(directions: int) -> None:
    direction = "forward" if directions == 1 else "bidirectional"
    attributes = {"hidden_size": HIDDEN, "direction": direction, "linear_before_reset": 1}
    check_operator("GRU", [*weights(3, directions), None, normal(directions, SAMPLES, HIDDEN)], attributes, outputs=2)


def test_weights_get_gradients() -> None:
    values = [None if array is None else torch.from_numpy(array).requires_grad_() for array in weights(4, 1)]
    y, *_ = run_operator("LSTM", Attributes({"hidden_size": HIDDEN}), values)
    assert isinstance(y, torch.Tensor)
    y.sum().backward()
    assert all(value is not None and value.grad is not None and bool(value.grad.any()) for value in values)


def test_what_torch_does_not_compute_is_named() -> None:
    x = [torch.from_numpy(array) for array in weights(3, 1)]
    with pytest.raises(NotImplementedError, match="linear_before_reset 0"):
        run_operator("GRU", Attributes({}), x)
    with pytest.raises(NotImplementedError, match="direction reverse"):
        run_operator("GRU", Attributes({"direction": "reverse", "linear_before_reset": 1}), x)
