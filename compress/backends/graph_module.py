"""Run an ONNX graph in torch, node by node, with gradients.

Layers are submodules; other operators are functions of `torch_operators`. Integer and boolean constants are NumPy arrays, so
that shapes are computed outside of torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor, nn

from compress.backends.torch_operators.run_operator import run_operator
from compress.backends.torch_operators.values import Attributes, Numbers, Output, Value
from compress.core.errors import ConversionError
from compress.core.language import gettext

LAYER = "Layer"
"""Operator of a step that is a submodule."""
NUMBER_INPUTS: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {"Resize": (1, 2, 3), "Upsample": (1,), "Pad": (2,), "Pow": (1,)}
)
"""Indices of the inputs that an operator reads as numbers, although they may be floats."""


@dataclass(frozen=True)
class GraphStep:
    """One node of the graph.

    Attributes:
        operator: Operator type; `Layer` and the types that a subclass adds are submodules.
        inputs: Input tensors.
        outputs: Output tensors.
        attributes: Attributes of the node.
        node: Name of the node.
        key: Key of the submodule.
        last_uses: Tensors that no later step reads.
    """

    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Attributes
    node: str = ""
    key: str = ""
    last_uses: tuple[str, ...] = ()


class GraphConstants(nn.Module):
    """Constants by name: floats are parameters or buffers; integers, booleans and float scalars are numbers.

    Args:
        arrays: Arrays by name.
        trained: Names of the floats that are parameters.
        numbers: Names of float arrays that are numbers, such as the scales of a resize.
    """

    def __init__(
        self, arrays: Mapping[str, np.ndarray], trained: frozenset[str] = frozenset(), numbers: frozenset[str] = frozenset()
    ) -> None:
        super().__init__()
        self.keys: dict[str, str] = {}
        self.numbers: dict[str, Numbers] = {}
        for name, array in arrays.items():
            if array.dtype.kind != "f" or (name not in trained and (array.ndim == 0 or name in numbers)):
                self.numbers[name] = array.astype(np.float32) if array.dtype.kind == "f" else array
                continue
            value = torch.from_numpy(np.array(array, np.float32))
            self.keys[name] = f"c{len(self.keys)}"
            if name in trained:
                self.register_parameter(self.keys[name], nn.Parameter(value))
            else:
                self.register_buffer(self.keys[name], value)

    def read(self, name: str) -> Value:
        """A constant by name."""
        if name not in self.keys:
            return self.numbers[name]
        value: Tensor = getattr(self, self.keys[name])
        return value


class GraphModule(nn.Module):
    """A graph as torch module; subclasses contain the submodules of its steps.

    Args:
        steps: Steps in order of execution.
        constants: Constants by name.
        starts: Names of the inputs, in the order of the arguments.
        stops: Names of the outputs; `forward` returns one tensor, or a tuple in this order.
        trained: Names of the constants that are parameters.
    """

    def __init__(
        self,
        steps: Sequence[GraphStep],
        constants: Mapping[str, np.ndarray],
        starts: Sequence[str],
        stops: Sequence[str],
        trained: frozenset[str] = frozenset(),
    ) -> None:
        super().__init__()
        self.starts, self.stops = tuple(starts), tuple(stops)
        pairs = [(step.inputs, NUMBER_INPUTS.get(step.operator, ())) for step in steps]
        numbers = frozenset(names[index] for names, indices in pairs for index in indices if index < len(names))
        self.constants = GraphConstants(constants, trained, numbers)
        self.steps = _with_last_uses(steps, self.stops)

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Outputs of the graph, computed in the precision of the weights."""
        precision = next((weight.dtype for weight in self.parameters()), torch.float32)
        values: dict[str, Value] = {"": None}
        for name, x in zip(self.starts, inputs, strict=True):
            values[name] = x.to(precision) if x.is_floating_point() else x
        for step in self.steps:
            read = [values[name] if name in values else self.constants.read(name) for name in step.inputs]
            values.update(zip(step.outputs, self._compute(step, read), strict=False))
            for name in step.last_uses:
                values.pop(name, None)
        results = tuple(_tensor(values[name] if name in values else self.constants.read(name)) for name in self.stops)
        return results[0] if len(results) == 1 else results

    def submodule(self, step: GraphStep) -> nn.Module | None:
        """The submodule of a step; None for an operator."""
        return self.get_submodule(step.key) if step.operator == LAYER else None

    def _compute(self, step: GraphStep, inputs: Sequence[Value]) -> tuple[Output, ...]:
        module = self.submodule(step)
        if module is not None:
            return (module(inputs[0]),)
        try:
            return run_operator(step.operator, step.attributes, inputs)
        except NotImplementedError as error:
            raise ConversionError(without_counterpart(step.operator, step.node, str(error))) from error


def without_counterpart(operator: str, node: str, detail: str = "") -> str:
    """Error message for an operator without gradients here."""
    subject = (
        gettext("operator {operator} with {detail}", operator=operator, detail=detail)
        if detail
        else gettext("operator {operator}", operator=operator)
    )
    return gettext("{subject} ({node}) has no torch equivalent here", subject=subject, node=node)


def _tensor(value: Value) -> Tensor:
    if isinstance(value, np.ndarray):
        return torch.from_numpy(np.array(value))
    assert value is not None  # noqa: S101  # every output of a checked graph is written by a node
    return value


def _with_last_uses(steps: Sequence[GraphStep], stops: Sequence[str]) -> tuple[GraphStep, ...]:
    """Add to each step the tensors that can be freed after it."""
    last: dict[str, int] = {}
    computed = {name for step in steps for name in step.outputs}
    for index, step in enumerate(steps):
        last |= dict.fromkeys((*step.inputs, *step.outputs), index)
    freed: dict[int, list[str]] = {}
    for name, index in last.items():
        if name in computed and name not in ("", *stops):
            freed.setdefault(index, []).append(name)
    return tuple(replace(step, last_uses=tuple(freed.get(index, ()))) for index, step in enumerate(steps))
