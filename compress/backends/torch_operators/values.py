"""What the torch functions of ONNX operators read: tensors, numbers of shapes, and attributes with their types.

Shapes, axes and other integers that are known before a network runs are NumPy arrays, so that computing a shape leaves no trace
in what `torch.export` records. Where an axis is free, an array holds its symbolic size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor

from compress.backends import onnx_graph as graphs

Numbers = np.ndarray
"""Integers, floats or booleans that are known without running the network; of type object where a size is symbolic."""
Value = Tensor | Numbers | None
"""A tensor of the graph; None where an optional input is left out."""


class Attributes:
    """Attributes of a node, each read as the type that its operator gives it.

    Args:
        values: By name; tensors as arrays.
    """

    def __init__(self, values: Mapping[str, object]) -> None:
        self.values = {name: value.numpy() if isinstance(value, ir.TensorProtocol) else value for name, value in values.items()}

    @classmethod
    def of(cls, node: ir.Node) -> Attributes:
        """Those of a node."""
        return cls(graphs.attributes(node))

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def number(self, name: str, default: float) -> float:
        """A float."""
        value = self.values.get(name, default)
        return float(value) if isinstance(value, (int, float)) else default

    def integer(self, name: str, default: int) -> int:
        """An integer."""
        value = self.values.get(name, default)
        return int(value) if isinstance(value, (int, float)) else default

    def text(self, name: str, default: str) -> str:
        """A word, such as a mode."""
        value = self.values.get(name, default)
        return value.decode() if isinstance(value, bytes) else str(value)

    def integers(self, name: str) -> tuple[int, ...] | None:
        """Several integers; None where the node has no such attribute."""
        value = self.values.get(name)
        return tuple(int(each) for each in value) if isinstance(value, Sequence) and not isinstance(value, str) else None

    def array(self, name: str) -> Numbers | None:
        """A tensor; None where the node has no such attribute."""
        value = self.values.get(name)
        return value if isinstance(value, np.ndarray) else None


class Inputs:
    """Inputs of one node; tensors are on one device.

    Args:
        values: In the order of the node.
    """

    def __init__(self, values: Sequence[Value]) -> None:
        self.values = tuple(values)
        tensors = [value for value in values if isinstance(value, Tensor)]
        cpu = torch.device("cpu")
        self.device = next((tensor.device for tensor in tensors if tensor.device != cpu), cpu)

    def __len__(self) -> int:
        return len(self.values)

    def has(self, index: int) -> bool:
        """Whether an optional input is given."""
        return len(self.values) > index and self.values[index] is not None

    def tensor(self, index: int) -> Tensor:
        """An input as a tensor.

        Raises:
            NotImplementedError: It is left out.
        """
        value = self.values[index] if len(self.values) > index else None
        if value is None:
            msg = f"input {index} left out"
            raise NotImplementedError(msg)
        return value.to(self.device) if isinstance(value, Tensor) else to_tensor(value, self.device)

    def optional(self, index: int) -> Tensor | None:
        """An input as a tensor; None where it is left out."""
        return self.tensor(index) if self.has(index) else None

    def tensors(self) -> list[Tensor]:
        """All inputs as tensors."""
        return [self.tensor(index) for index in range(len(self))]

    def number(self, index: int) -> float | None:
        """A scalar that is known without running the network; None for a computed one, several, or none."""
        value = self.values[index] if len(self.values) > index else None
        number: float | None = value.item() if isinstance(value, np.ndarray) and value.size == 1 else None
        return number

    def numbers(self, index: int) -> list[int]:
        """An input as a list of integers, such as a shape; a computed one is read, which no exporter can follow."""
        value = self.values[index]
        listed: list[int] = [] if value is None else value.reshape(-1).tolist()
        return listed


def to_tensor(numbers: Numbers, device: torch.device) -> Tensor:
    """Numbers as a tensor."""
    if numbers.dtype != object:
        return torch.from_numpy(np.array(numbers)).to(device)
    listed = [torch.as_tensor(number, device=device) for number in numbers.reshape(-1).tolist()]
    return torch.stack(listed).reshape(numbers.shape) if listed else torch.zeros(numbers.shape, dtype=torch.int64)


Output = Tensor | Numbers
Operator = Callable[[Attributes, Inputs], Output | tuple[Output, ...]]
"""The outputs of one node."""


def pairwise(function: Callable[[Tensor, Tensor], Tensor]) -> Operator:
    """A function of two tensors as an operator, folded over more."""

    def apply(_: Attributes, x: Inputs) -> Tensor:
        first, *others = x.tensors()
        for tensor in others:
            first = function(first, tensor)
        return first

    return apply


def unary(function: Callable[[Tensor], Tensor]) -> Operator:
    """A function of one tensor as an operator."""
    return lambda _, x: function(x.tensor(0))
