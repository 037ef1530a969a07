"""Runner for TensorRT on an NVIDIA GPU, with the Python API; can time copies and computation separately.

The code supports releases 10 and 11: named tensors and `execute_async_v3`. Buffers, streams and events are those of torch.
Tests without a GPU run it with a fake API and check the used names against the published API.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch

from compress.backends.runner_protocol import Array, Feeds, TimedPhases, run_error
from compress.core.errors import ConversionError, DeviceError, MissingPackageError
from compress.core.language import gettext

CUDA: Any = torch.cuda
"""`torch.cuda` as Any, because its streams and events are not annotated."""


class TensorRTRunner:
    """Runs one engine in one execution context on one stream.

    Args:
        path: An engine that was built on this GPU with this release, or an ONNX file, from which an engine is built first,
            which takes minutes.
        threads: Not used; an argument of every runner.
    """

    def __init__(self, path: Path, *, threads: int = 1) -> None:
        self.path = path
        self.threads = threads
        self._stack = ExitStack()
        self._runtime: Any = None
        self._engine: Any = None
        self._context: Any = None
        self._stream: Any = None
        self._version = ""
        self._names: dict[str, bool] = {}
        self._buffers: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
        self._input_shapes: tuple[tuple[int, ...], ...] = ()

    def __enter__(self) -> Self:
        """Load the engine and create a context.

        Raises:
            MissingPackageError: TensorRT is not installed.
            DeviceError: There is no GPU, or memory ran out.
            ConversionError: The engine is for another GPU or release, or cannot be built.
        """
        try:
            import tensorrt as trt
        except ImportError as error:
            raise MissingPackageError("tensorrt", "tensorrt", gettext("running {path} in TensorRT", path=self.path)) from error
        if not torch.cuda.is_available():
            msg = gettext(
                "TensorRT {version} needs an NVIDIA GPU, but torch {torch_version} finds none; check the driver",
                version=trt.__version__,
                torch_version=torch.__version__,
            )
            raise DeviceError(msg)
        self._version = trt.__version__
        self._runtime = runtime = trt.Runtime(trt.Logger(trt.Logger.WARNING))
        engine = runtime.deserialize_cuda_engine(self._plan().read_bytes())
        if engine is None:
            msg = gettext(
                "TensorRT {version} cannot load {path}: an engine runs only on the GPU and release that built it",
                version=trt.__version__,
                path=self.path,
            )
            raise ConversionError(msg)
        context = engine.create_execution_context()
        if context is None:
            msg = gettext(
                "out of memory: no execution context for {path} ({st_size:.3g} MB on disk)",
                path=self.path,
                st_size=self.path.stat().st_size / 1000000.0,
            )
            raise DeviceError(msg)
        self._engine, self._context, self._stream = engine, context, CUDA.Stream()
        names = (engine.get_tensor_name(index) for index in range(engine.num_io_tensors))
        self._names = {name: engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT for name in names}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /) -> None:
        """Free buffers, context, engine and runtime, in this order."""
        self._buffers.clear()
        self._input_shapes = ()
        self._context = None
        self._engine = None
        self._runtime = None
        self._stack.close()

    def run(self, feeds: Feeds) -> list[Array]:
        """Run one inference, including copies, and wait for the outputs.

        Raises:
            ConversionError: The inputs do not fit.
            DeviceError: Memory ran out.
        """
        self._prepare(feeds)
        self._stage(feeds)
        with torch.cuda.stream(self._stream):
            self._copy_in()
            self._execute(feeds)
            self._copy_out()
        self._stream.synchronize()
        return [host.numpy().copy() for name, (host, _) in self._buffers.items() if not self._names[name]]

    def time_phases(self, feeds: Feeds) -> TimedPhases:
        """Run one inference and time its phases by CUDA events; inputs are in pinned memory before the first event.

        Raises:
            ConversionError: The inputs do not fit.
            DeviceError: Memory ran out.
        """
        self._prepare(feeds)
        start, copied, computed, done = (CUDA.Event(enable_timing=True) for _ in range(4))
        self._stage(feeds)
        with torch.cuda.stream(self._stream):
            start.record()
            self._copy_in()
            copied.record()
            self._execute(feeds)
            computed.record()
            self._copy_out()
            done.record()
        done.synchronize()
        return TimedPhases(start.elapsed_time(copied), copied.elapsed_time(computed), computed.elapsed_time(done))

    def describe(self) -> dict[str, str]:
        """Settings for the record."""
        return {
            "runtime": f"TensorRT {self._version}",
            "device": torch.cuda.get_device_name(),
            "copies": "pinned host memory, on the same stream, part of the latency",
            "CUDA graph": "no",
            "waiting": "stream synchronization",
        }

    def shapes(self) -> dict[str, tuple[tuple[int | str | None, ...], str]]:
        """Shape and NumPy type of each input; a free dimension is None."""
        return {
            name: (
                tuple(size if size >= 0 else None for size in self._engine.get_tensor_shape(name)),
                np.dtype(str(self._type(name)).removeprefix("torch.")).name,
            )
            for name, is_input in self._names.items()
            if is_input
        }

    def _plan(self) -> Path:
        """Path of the engine; builds it from an ONNX file."""
        if self.path.suffix != ".onnx":
            return self.path
        from compress.backends.file_signature import read_signature
        from compress.backends.tensorrt_engine import build_engine, free_shapes

        shapes = free_shapes(read_signature(self.path))
        engine = Path(self._stack.enter_context(tempfile.TemporaryDirectory())) / "model.engine"
        build_engine(self.path, engine, shapes)
        return engine

    def _prepare(self, feeds: Feeds) -> None:
        """Set input shapes and allocate buffers, if the shapes differ from those of the last run."""
        input_shapes = tuple(array.shape for array in feeds.values())
        if input_shapes == self._input_shapes:
            return
        context = self._context
        if set(feeds) != set(self.shapes()) or not all(context.set_input_shape(*item) for item in _shapes_of(feeds)):
            raise run_error(
                self.path, feeds, self.shapes(), ValueError(gettext("no optimization profile of the engine has these shapes"))
            )
        try:
            for name in self._names:
                shape, kind = tuple(context.get_tensor_shape(name)), self._type(name)
                host = torch.empty(shape, dtype=kind, pin_memory=True)
                device = torch.empty(shape, dtype=kind, device="cuda")
                self._buffers[name] = (host, device)
                context.set_tensor_address(name, device.data_ptr())
        except RuntimeError as error:
            raise run_error(self.path, feeds, self.shapes(), error) from error
        self._input_shapes = input_shapes

    def _stage(self, feeds: Feeds) -> None:
        for name, array in feeds.items():
            self._buffers[name][0].copy_(torch.from_numpy(np.ascontiguousarray(array)))

    def _copy_in(self) -> None:
        for name, (host, device) in self._buffers.items():
            if self._names[name]:
                device.copy_(host, non_blocking=True)

    def _execute(self, feeds: Feeds) -> None:
        context = self._context
        if not context.execute_async_v3(self._stream.cuda_stream):
            raise run_error(self.path, feeds, self.shapes(), RuntimeError(gettext("TensorRT did not run; see its log above")))

    def _copy_out(self) -> None:
        for name, (host, device) in self._buffers.items():
            if not self._names[name]:
                host.copy_(device, non_blocking=True)

    def _type(self, name: str) -> torch.dtype:
        """Torch type of a tensor of the engine."""
        import tensorrt as trt

        kinds = {
            trt.DataType.FLOAT: torch.float32,
            trt.DataType.HALF: torch.float16,
            trt.DataType.INT64: torch.int64,
            trt.DataType.INT32: torch.int32,
            trt.DataType.INT8: torch.int8,
            trt.DataType.UINT8: torch.uint8,
            trt.DataType.BOOL: torch.bool,
        }
        engine = self._engine
        kind = kinds.get(engine.get_tensor_dtype(name))
        if kind is None:
            msg = gettext(
                "tensor {name!r} of {path} has a type that NumPy lacks; export the network with fp32 or int8 outputs",
                name=name,
                path=self.path,
            )
            raise ConversionError(msg)
        return kind


def _shapes_of(feeds: Feeds) -> list[tuple[str, tuple[int, ...]]]:
    return [(name, array.shape) for name, array in feeds.items()]
