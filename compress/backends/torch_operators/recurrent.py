"""LSTM and GRU over a sequence.

The order of the gates differs:

            ONNX                           torch
    LSTM    input, output, forget, cell    input, forget, cell, output
    GRU     update, reset, hidden          reset, update, hidden

Shapes: X (T, N, I), W (D, G·H, I), R (D, G·H, H), B (D, 2·G·H), for D directions, G gates and hidden size H.
"""

from __future__ import annotations

import torch
from torch import Tensor

from compress.backends.torch_operators.values import Attributes, Inputs, Operator

LSTM_GATES, GRU_GATES = (0, 2, 3, 1), (1, 0, 2)
"""Index in ONNX of each gate of torch."""


def _weights(x: Inputs, gates: tuple[int, ...]) -> list[Tensor]:
    """Weights in the order of torch: input weights, hidden weights and two biases for each direction."""
    w, r, b = x.tensor(1), x.tensor(2), x.optional(3)
    hidden = r.shape[-1]
    order = [gate * hidden + row for gate in gates for row in range(hidden)]
    flat: list[Tensor] = []
    for direction in range(len(w)):
        flat += [w[direction][order], r[direction][order]]
        both = torch.zeros(2 * len(order), device=w.device) if b is None else b[direction]
        flat += [half[order] for half in both.chunk(2)]
    return flat


def _check(attributes: Attributes, x: Inputs, activations: tuple[str, ...]) -> bool:
    """Whether the node is bidirectional.

    Raises:
        NotImplementedError: The node uses an option that torch does not support.
    """
    direction = attributes.text("direction", "forward")
    names = attributes.values.get("activations")
    functions = tuple(str(name) for name in names) if isinstance(names, (list, tuple)) else activations
    reasons = {
        "sequence lengths": x.has(4),
        "peepholes": x.has(7),
        "clip": "clip" in attributes,
        "layout": attributes.integer("layout", 0) != 0,
        "input_forget": attributes.integer("input_forget", 0) != 0,
        "direction reverse": direction == "reverse",
        f"activations {', '.join(functions)}": functions[: len(activations)] != activations,
    }
    if unsupported := [reason for reason, present in reasons.items() if present]:
        raise NotImplementedError(", ".join(unsupported))
    return direction == "bidirectional"


def _state(x: Inputs, index: int) -> Tensor:
    state = x.optional(index)
    if state is not None:
        return state
    return x.tensor(0).new_zeros(len(x.tensor(1)), x.tensor(0).shape[1], x.tensor(2).shape[-1])


def _by_direction(y: Tensor, directions: int) -> Tensor:
    """(T, N, D·H) of torch → (T, D, N, H) of ONNX."""
    t, n, _ = y.shape
    return y.reshape(t, n, directions, -1).transpose(1, 2)


def lstm(attributes: Attributes, x: Inputs) -> tuple[Tensor, ...]:
    """All outputs, the last hidden state and the last cell state."""
    both = _check(attributes, x, ("Sigmoid", "Tanh", "Tanh"))
    state = [_state(x, 5), _state(x, 6)]
    y, h, c = torch.lstm(x.tensor(0), state, _weights(x, LSTM_GATES), True, 1, 0.0, False, both, False)
    return _by_direction(y, 1 + both), h, c


def gru(attributes: Attributes, x: Inputs) -> tuple[Tensor, ...]:
    """All outputs and the last hidden state.

    Raises:
        NotImplementedError: `linear_before_reset` is 0, which torch does not support.
    """
    both = _check(attributes, x, ("Sigmoid", "Tanh"))
    if not attributes.integer("linear_before_reset", 0):
        msg = "linear_before_reset 0"
        raise NotImplementedError(msg)
    y, h = torch.gru(x.tensor(0), _state(x, 5), _weights(x, GRU_GATES), True, 1, 0.0, False, both, False)
    return _by_direction(y, 1 + both), h


RECURRENT_OPERATORS: dict[str, Operator] = {"LSTM": lstm, "GRU": gru}
