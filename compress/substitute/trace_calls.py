"""Trace of one forward pass: which module called which function on which tensors; callbacks on the calls of modules.

Tensors are identified as objects, so that the data flow between modules is exact, functional code between modules included.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from compress.core.errors import ModelError
from compress.core.language import gettext


@dataclass(frozen=True, eq=False)
class FunctionCall:
    """One call of a function that returned a tensor.

    Attributes:
        module: Name of the innermost module that was running; empty for the network itself.
        function: The function.
        inputs: Tensors among its arguments.
        output: The result; one of the inputs if the function works in place.
    """

    module: str
    function: Callable[..., object]
    inputs: tuple[Tensor, ...]
    output: Tensor


@dataclass(eq=False)
class ModuleCall:
    """One call of a module: its first tensors in and out, and the range [first, last) of its function calls."""

    module: str
    first: int
    x: Tensor | None
    last: int = 0
    y: Tensor | None = None


@dataclass(eq=False)
class CallTrace:
    """Calls of one forward pass.

    Attributes:
        calls: Function calls in order.
        module_calls: Module calls in order of entry.
    """

    calls: list[FunctionCall] = field(default_factory=list)
    module_calls: list[ModuleCall] = field(default_factory=list)

    def consumers(self, tensor: Tensor, start: int) -> tuple[FunctionCall, ...]:
        """Calls from index `start` on that read this tensor, up to and including the first that modifies it in place."""
        calls = []
        for call in self.calls[start:]:
            if any(argument is tensor for argument in call.inputs):
                calls.append(call)
                if call.output is tensor:
                    break
        return tuple(calls)

    def producer(self, tensor: Tensor, end: int) -> FunctionCall | None:
        """The last call before index `end` that returned this tensor."""
        return next((call for call in reversed(self.calls[:end]) if call.output is tensor), None)

    def uses_weight(self, module: nn.Module) -> bool:
        """Whether a layer's weight is used unchanged by convolutions or batch norms only.

        Weight standardisation and other parametrizations change it before use.
        """
        weight = dict(module.named_parameters(recurse=False)).get("weight")
        users = {
            call.function for call in self.calls if weight is not None and any(argument is weight for argument in call.inputs)
        }
        return bool(users) and users <= {F.conv2d, F.batch_norm}

    def times(self, module: str) -> int:
        """Number of calls of a module."""
        return sum(module_call.module == module for module_call in self.module_calls)


def trace(network: nn.Module, inputs: Tensor) -> CallTrace:
    """Run a network once in its current mode.

    Args:
        network: Not changed.
        inputs: One batch.

    Raises:
        ModelError: It cannot be run; the message names the last module entered.
    """
    call_trace, running = CallTrace(), [""]
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # the fused encoder layer hides what is inside
    try:
        with torch.no_grad(), _recording_modules(network, call_trace, running), _RecordFunctions(call_trace, running):
            network(inputs)
    except Exception as error:  # whatever the user's network raises
        msg = gettext(
            "the network cannot be traced, last module entered {running!r}: {error}",
            running=running[-1] or gettext("the network itself"),
            error=error,
        )
        raise ModelError(msg.splitlines()[0]) from error
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    return call_trace


class _RecordFunctions(TorchFunctionMode):
    def __init__(self, call_trace: CallTrace, running: Sequence[str]) -> None:
        super().__init__()
        self.call_trace, self.running = call_trace, running

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: object,
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        """Call the function and record the call for each tensor that it returns."""
        output = func(*args, **(kwargs or {}))
        inputs = tuple(_tensors((*args, *(kwargs or {}).values())))
        for result in _tensors([output]):
            self.call_trace.calls.append(FunctionCall(self.running[-1], func, inputs, result))
        return output


def _tensors(values: Sequence[object]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _tensors(value)


@contextlib.contextmanager
def _recording_modules(network: nn.Module, call_trace: CallTrace, running: list[str]) -> Iterator[None]:
    running_calls: list[ModuleCall] = []

    def on_enter(name: str, inputs: Sequence[object]) -> None:
        running.append(name)
        running_calls.append(ModuleCall(name, len(call_trace.calls), next(_tensors(inputs), None)))
        call_trace.module_calls.append(running_calls[-1])

    def on_exit(output: object) -> None:
        running.pop()
        module_call = running_calls.pop()
        module_call.last, module_call.y = len(call_trace.calls), next(_tensors([output]), None)

    hooks: list[RemovableHandle] = []
    for name, module in network.named_modules():
        if name:
            hooks.append(module.register_forward_pre_hook(lambda _, inputs, name=name: on_enter(name, inputs)))
            hooks.append(module.register_forward_hook(lambda _, __, output: on_exit(output)))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


OnCall = Callable[[str, Tensor, Tensor], None]
"""Called with the name of a module, its input and its output."""


@torch.no_grad()
def run_hooks(network: nn.Module, names: Sequence[str], batches: Sequence[Tensor], on_call: OnCall) -> None:
    """Run a network in eval mode with a callback on some modules.

    Args:
        network: Not changed.
        names: Names of modules that take and return one tensor.
        batches: Inputs of the network.
        on_call: Called for each call of these modules. The input is copied before the call, which may change it in place.
    """
    before: dict[str, Tensor] = {}
    with contextlib.ExitStack() as stack:
        for name in names:
            part = network.get_submodule(name)
            before_call = part.register_forward_pre_hook(lambda _, x, name=name: before.__setitem__(name, x[0].clone()))
            after_call = part.register_forward_hook(lambda _, __, y, name=name: on_call(name, before.pop(name), y))
            stack.callback(before_call.remove)
            stack.callback(after_call.remove)
        for batch in batches:
            network(batch)
