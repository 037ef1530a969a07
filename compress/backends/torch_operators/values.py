"""Inputs and attributes of the torch functions of ONNX operators.

Shapes, axes and other integers that are known before the network runs are NumPy arrays, so that `torch.export` does not record
their computation. The size of a free axis in such an array is symbolic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor

from compress.backends import onnx_graph as graphs
from compress.core.language import gettext

Numbers = np.ndarray
"""Integers, floats or booleans that are known before the network runs; of type object if a size is symbolic."""
Value = Tensor | Numbers | None
"""A tensor of the graph; None for an omitted optional input."""


class Attributes:
    """Attributes of a node, with a method for each type.

    Args:
        values: Values by name; tensors become arrays.
    """

    def __init__(self, values: Mapping[str, object]) -> None:
        self.values = {name: value.numpy() if isinstance(value, ir.TensorProtocol) else value for name, value in values.items()}

    @classmethod
    def of(cls, node: ir.Node) -> Attributes:
        """Attributes of a node."""
        return cls(graphs.attributes(node))

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def number(self, name: str, default: float) -> float:
        """A float attribute."""
        value = self.values.get(name, default)
        return float(value) if isinstance(value, (int, float)) else default

    def integer(self, name: str, default: int) -> int:
        """An integer attribute."""
        value = self.values.get(name, default)
        return int(value) if isinstance(value, (int, float)) else default

    def text(self, name: str, default: str) -> str:
        """A string attribute, such as a mode."""
        value = self.values.get(name, default)
        return value.decode() if isinstance(value, bytes) else str(value)

    def integers(self, name: str) -> tuple[int, ...] | None:
        """An attribute with several integers; None if the node lacks it."""
        value = self.values.get(name)
        return tuple(int(number) for number in value) if isinstance(value, Sequence) and not isinstance(value, str) else None

    def array(self, name: str) -> Numbers | None:
        """A tensor attribute; None if the node lacks it."""
        value = self.values.get(name)
        return value if isinstance(value, np.ndarray) else None


class Inputs:
    """Inputs of a node; all tensors are on one device.

    Args:
        values: Inputs in the order of the node.
    """

    def __init__(self, values: Sequence[Value]) -> None:
        self.values = tuple(values)
        tensors = [value for value in values if isinstance(value, Tensor)]
        cpu = torch.device("cpu")
        self.device = next((tensor.device for tensor in tensors if tensor.device != cpu), cpu)

    def __len__(self) -> int:
        return len(self.values)

    def has(self, index: int) -> bool:
        """Whether an input is present."""
        return len(self.values) > index and self.values[index] is not None

    def tensor(self, index: int) -> Tensor:
        """An input as a tensor.

        Raises:
            NotImplementedError: The input is omitted.
        """
        value = self.values[index] if len(self.values) > index else None
        if value is None:
            msg = gettext("omitted input {index}", index=index)
            raise NotImplementedError(msg)
        return value.to(self.device) if isinstance(value, Tensor) else to_tensor(value, self.device)

    def optional(self, index: int) -> Tensor | None:
        """An input as a tensor; None if it is omitted."""
        return self.tensor(index) if self.has(index) else None

    def tensors(self) -> list[Tensor]:
        """All inputs as tensors."""
        return [self.tensor(index) for index in range(len(self))]

    def number(self, index: int) -> float | None:
        """A scalar input that is known before the network runs; else None."""
        value = self.values[index] if len(self.values) > index else None
        number: float | None = value.item() if isinstance(value, np.ndarray) and value.size == 1 else None
        return number

    def numbers(self, index: int) -> list[int]:
        """An input as a list of integers, such as a shape; `torch.export` cannot trace one that the network computes."""
        value = self.values[index]
        numbers: list[int] = [] if value is None else value.reshape(-1).tolist()
        return numbers


def to_tensor(numbers: Numbers, device: torch.device) -> Tensor:
    """Convert numbers to a tensor."""
    if numbers.dtype != object:
        return torch.from_numpy(np.array(numbers)).to(device)
    listed = [torch.as_tensor(number, device=device) for number in numbers.reshape(-1).tolist()]
    return torch.stack(listed).reshape(numbers.shape) if listed else torch.zeros(numbers.shape, dtype=torch.int64)


Output = Tensor | Numbers
Operator = Callable[[Attributes, Inputs], Output | tuple[Output, ...]]
"""Outputs of a node."""


def pairwise(function: Callable[[Tensor, Tensor], Tensor]) -> Operator:
    """Operator that applies a function of two tensors to its inputs, from left to right."""

    def apply(_: Attributes, x: Inputs) -> Tensor:
        first, *others = x.tensors()
        for tensor in others:
            first = function(first, tensor)
        return first

    return apply


def unary(function: Callable[[Tensor], Tensor]) -> Operator:
    """Operator that applies a function of one tensor."""
    return lambda _, x: function(x.tensor(0))
