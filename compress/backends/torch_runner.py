"""Runner for a torch module without export, on the CPU or on an NVIDIA GPU.

Tests run the CUDA paths only on machines with a GPU.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
import torch
from torch import nn

from compress.backends.runner_protocol import Array, Feeds, describe_affinity, run_error
from compress.core.errors import DeviceError
from compress.core.language import gettext

CUDA: Any = torch.cuda
"""`torch.cuda` as Any, because its streams and events are not annotated."""
WARM_RUNS = 3
"""Runs on a side stream before a CUDA graph is captured, as torch's documentation requires."""


class TorchRunner:
    """Runs a copy of a module in eval mode; inputs are in the order of the module's arguments.

    Args:
        module: The module; not changed.
        threads: Threads within an operator on the CPU; torch has one setting per process, which is restored at the end.
        device: `cpu` or `cuda`.
        floats: Type to which weights and float inputs are converted.
        channels_last: Images have the memory layout (N, H, W, C).
        compiled: Compile with `torch.compile` at the first run.
        graph: Capture a CUDA graph at the first run and replay it; input shapes are then fixed.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        threads: int = 1,
        device: Literal["cpu", "cuda"] = "cpu",
        floats: Literal["fp32", "fp16"] = "fp32",
        channels_last: bool = False,
        compiled: bool = False,
        graph: bool = False,
    ) -> None:
        self.module = module
        self.threads = threads
        self.device = device
        self.floats = torch.float16 if floats == "fp16" else torch.float32
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        self.compiled = compiled
        self.graph = graph
        self._network: Callable[..., object] | None = None
        self._captured: _CudaGraph | None = None
        self._threads_before = 0

    def __enter__(self) -> Self:
        """Copy the module to the device.

        Raises:
            DeviceError: The device does not exist, or does not support a setting.
        """
        if self.device == "cuda" and not torch.cuda.is_available():
            msg = gettext(
                "torch {version} finds no CUDA device: use device='cpu', or install a driver and torch for CUDA",
                version=torch.__version__,
            )
            raise DeviceError(msg)
        if self.graph and self.device != "cuda":
            msg = gettext("CUDA graphs need device='cuda', got {device!r}", device=self.device)
            raise DeviceError(msg)
        self._threads_before = torch.get_num_threads()
        if self.threads:
            torch.set_num_threads(self.threads)
        network = copy.deepcopy(self.module).eval().to(self.device, self.floats)
        network = network.to(memory_format=self.layout)
        self._network = torch.compile(network) if self.compiled else network
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /) -> None:
        """Free the copy and restore the number of threads."""
        self._network = self._captured = None
        torch.set_num_threads(self._threads_before)
        if self.device == "cuda":
            torch.cuda.empty_cache()

    def run(self, feeds: Feeds) -> list[Array]:
        """Run one inference, including copies to the device and back, and wait for the outputs.

        Raises:
            ConversionError: The inputs do not fit.
            DeviceError: Memory ran out.
        """
        try:
            return _arrays(self._forward(self._tensors(feeds)))
        except (RuntimeError, MemoryError) as error:
            raise run_error(type(self.module).__name__, feeds, gettext("the arguments of its forward"), error) from error

    def describe(self) -> dict[str, str]:
        """Settings for the record."""
        where = {"device": torch.cuda.get_device_name()} if self.device == "cuda" else {"threads": str(torch.get_num_threads())}
        return {
            "runtime": f"torch {torch.__version__}",
            **where,
            "floats": str(self.floats).removeprefix("torch."),
            "layout": str(self.layout).removeprefix("torch."),
            "compiled": "yes" if self.compiled else "no",
            "CUDA graph": "yes" if self.graph else "no",
            "affinity": describe_affinity(),
        }

    def _tensors(self, feeds: Feeds) -> list[torch.Tensor]:
        return [self._tensor(torch.from_numpy(np.ascontiguousarray(array))) for array in feeds.values()]

    def _tensor(self, tensor: torch.Tensor) -> torch.Tensor:
        kind = self.floats if tensor.is_floating_point() else tensor.dtype
        layout = self.layout if tensor.ndim == 4 else torch.contiguous_format
        return tensor.to(self.device, kind, memory_format=layout)

    def _forward(self, tensors: list[torch.Tensor]) -> object:
        if self._network is None:
            msg = gettext("{kind} is not loaded: use the runner in a with block", kind=type(self.module).__name__)
            raise RuntimeError(msg)
        with torch.inference_mode():
            if not self.graph:
                return self._network(*tensors)
            if self._captured is None:
                self._captured = _CudaGraph(self._network, tensors)
            return self._captured(tensors)


class _CudaGraph:
    """A CUDA graph of one forward pass, with inputs and outputs at fixed addresses."""

    def __init__(self, network: Callable[..., object], tensors: list[torch.Tensor]) -> None:
        self.inputs = [tensor.clone() for tensor in tensors]
        side = CUDA.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_RUNS):
                network(*self.inputs)
        torch.cuda.current_stream().wait_stream(side)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.outputs = network(*self.inputs)

    def __call__(self, tensors: list[torch.Tensor]) -> object:
        for buffer, tensor in zip(self.inputs, tensors, strict=True):
            buffer.copy_(tensor)
        self.graph.replay()
        return self.outputs


def _arrays(outputs: object) -> list[Array]:
    """Copy outputs (a tensor, or a list, tuple or mapping of tensors) to the host, floats in float32."""
    if isinstance(outputs, torch.Tensor):
        return [(outputs.float() if outputs.is_floating_point() else outputs).cpu().numpy()]
    if isinstance(outputs, dict):
        outputs = list(outputs.values())
    if not isinstance(outputs, list | tuple):
        msg = gettext(
            "a network must return a tensor, or a list, tuple or mapping of tensors, not {kind}", kind=type(outputs).__name__
        )
        raise TypeError(msg)
    return [array for output in outputs for array in _arrays(output)]
