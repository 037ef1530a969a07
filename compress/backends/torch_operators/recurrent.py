"""LSTM and GRU over a sequence, with ONNX's order of gates brought to torch's.

ONNX stores the gates of an LSTM as input, output, forget, cell, torch as input, forget, cell, output; those of a GRU as update,
reset, hidden, torch as reset, update, hidden. X (T, N, I), W (D, G H, I), R (D, G H, H), B (D, 2 G H), for D directions and G
gates.
"""

from __future__ import annotations

import torch
from torch import Tensor

from compress.backends.torch_operators.values import Attributes, Inputs, Operator

LSTM_GATES, GRU_GATES = (0, 2, 3, 1), (1, 0, 2)
"""For each of torch's gates, its place in ONNX."""


def _weights(x: Inputs, gates: tuple[int, ...]) -> list[Tensor]:
    """Weights as torch takes them: input weights, hidden weights and two biases for each direction."""
    w, r, b = x.tensor(1), x.tensor(2), x.optional(3)
    hidden = r.shape[-1]
    order = [place * hidden + row for place in gates for row in range(hidden)]
    flat: list[Tensor] = []
    for direction in range(len(w)):
        flat += [w[direction][order], r[direction][order]]
        both = torch.zeros(2 * len(order), device=w.device) if b is None else b[direction]
        flat += [half[order] for half in both.chunk(2)]
    return flat


def _check(attributes: Attributes, x: Inputs, activations: tuple[str, ...]) -> bool:
    """Whether both directions are computed.

    Raises:
        NotImplementedError: What torch's recurrences do not compute.
    """
    direction = attributes.text("direction", "forward")
    names = attributes.values.get("activations")
    given = tuple(str(name) for name in names) if isinstance(names, (list, tuple)) else activations
    reasons = {
        "sequence lengths": x.has(4),
        "peepholes": x.has(7),
        "clip": "clip" in attributes,
        "layout": attributes.integer("layout", 0) != 0,
        "input_forget": attributes.integer("input_forget", 0) != 0,
        "direction reverse": direction == "reverse",
        f"activations {', '.join(given)}": given[: len(activations)] != activations,
    }
    if found := [reason for reason, present in reasons.items() if present]:
        raise NotImplementedError(", ".join(found))
    return direction == "bidirectional"


def _state(x: Inputs, index: int) -> Tensor:
    given = x.optional(index)
    if given is not None:
        return given
    return x.tensor(0).new_zeros(len(x.tensor(1)), x.tensor(0).shape[1], x.tensor(2).shape[-1])


def _by_direction(y: Tensor, directions: int) -> Tensor:
    """(T, N, D H) → (T, D, N, H), as ONNX gives it."""
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
        NotImplementedError: The hidden gate is reset before its product, which torch does not compute.
    """
    both = _check(attributes, x, ("Sigmoid", "Tanh"))
    if not attributes.integer("linear_before_reset", 0):
        msg = "linear_before_reset 0"
        raise NotImplementedError(msg)
    y, h = torch.gru(x.tensor(0), _state(x, 5), _weights(x, GRU_GATES), True, 1, 0.0, False, both, False)
    return _by_direction(y, 1 + both), h


RECURRENT_OPERATORS: dict[str, Operator] = {"LSTM": lstm, "GRU": gru}
