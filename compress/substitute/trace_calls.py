"""One forward pass, told call by call: which module called which function on which tensors.

Tensors are followed as objects, so what a module gives to whom is known exactly, functional code between modules included.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from compress.core.errors import ModelError


@dataclass(frozen=True, eq=False)
class FunctionCall:
    """One function that gave a tensor.

    Attributes:
        module: Name of the innermost module that was running; empty for the network itself.
        function: What was called.
        inputs: Tensors among its arguments.
        output: The tensor that it gave; one of the inputs where it worked in place.
    """

    module: str
    function: Callable[..., Any]
    inputs: tuple[Tensor, ...]
    output: Tensor


@dataclass(eq=False)
class ModuleCall:
    """One call of a module: the numbers of the first call inside it and of the first after it, and its tensors."""

    module: str
    first: int
    x: Tensor | None
    last: int = 0
    y: Tensor | None = None


@dataclass(eq=False)
class CallTrace:
    """A pass.

    Attributes:
        calls: In order.
        module_calls: In the order in which the modules were entered.
    """

    calls: list[FunctionCall] = field(default_factory=list)
    module_calls: list[ModuleCall] = field(default_factory=list)

    def consumers(self, tensor: Tensor, start: int) -> tuple[FunctionCall, ...]:
        """Calls from number `start` on that take this tensor, before one works on it in place and including that one."""
        calls = []
        for call in self.calls[start:]:
            if any(argument is tensor for argument in call.inputs):
                calls.append(call)
                if call.output is tensor:
                    break
        return tuple(calls)

    def producer(self, tensor: Tensor, end: int) -> FunctionCall | None:
        """The last call before number `end` that gave this tensor."""
        return next((call for call in reversed(self.calls[:end]) if call.output is tensor), None)

    def uses_weight(self, module: nn.Module) -> bool:
        """Whether a layer's weight goes into a convolution or batch norm as it is, and into nothing else.

        Standardised and otherwise parametrized weights do not.
        """
        weight = dict(module.named_parameters(recurse=False)).get("weight")
        users = {
            call.function for call in self.calls if weight is not None and any(argument is weight for argument in call.inputs)
        }
        return bool(users) and users <= {F.conv2d, F.batch_norm}

    def times(self, module: str) -> int:
        """How often a module was called."""
        return sum(module_call.module == module for module_call in self.module_calls)


def trace(network: nn.Module, inputs: Tensor) -> CallTrace:
    """Run a network once, in the mode that it is in.

    Args:
        network: Left as it was.
        inputs: One batch.

    Raises:
        ModelError: It cannot be run; names the last module entered.
    """
    call_trace, running = CallTrace(), [""]
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # the fused encoder layer hides what is inside
    try:
        with torch.no_grad(), _recording_modules(network, call_trace, running), _RecordFunctions(call_trace, running):
            network(inputs)
    except Exception as error:  # whatever the user's network raises
        msg = f"the network cannot be followed, last module entered {running[-1] or 'the network itself'!r}: {error}"
        raise ModelError(msg.splitlines()[0]) from error
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    return call_trace


class _RecordFunctions(TorchFunctionMode):
    def __init__(self, call_trace: CallTrace, running: Sequence[str]) -> None:
        super().__init__()
        self.call_trace, self.running = call_trace, running

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call, and write down what it gave if that is a tensor."""
        output = func(*args, **(kwargs or {}))
        inputs = tuple(_tensors((*args, *(kwargs or {}).values())))
        for result in _tensors([output]):
            self.call_trace.calls.append(FunctionCall(self.running[-1], func, inputs, result))
        return output


def _tensors(values: Sequence[Any]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _tensors(value)


@contextlib.contextmanager
def _recording_modules(network: nn.Module, call_trace: CallTrace, running: list[str]) -> Iterator[None]:
    running_calls: list[ModuleCall] = []

    def on_enter(name: str, inputs: Sequence[Any]) -> None:
        running.append(name)
        running_calls.append(ModuleCall(name, len(call_trace.calls), next(_tensors(inputs), None)))
        call_trace.module_calls.append(running_calls[-1])

    def on_exit(output: Any) -> None:
        running.pop()
        module_call = running_calls.pop()
        module_call.last, module_call.y = len(call_trace.calls), next(_tensors([output]), None)

    hooks: list[Any] = []
    for name, module in network.named_modules():
        if name:
            hooks.append(module.register_forward_pre_hook(lambda _, inputs, name=name: on_enter(name, inputs)))
            hooks.append(module.register_forward_hook(lambda _, __, output: on_exit(output)))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
