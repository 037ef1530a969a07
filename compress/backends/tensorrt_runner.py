"""TensorRT on an NVIDIA GPU: an engine built on this device, run over the Python API, copies and computation apart.

One code path for releases 10 and 11: named tensors and `execute_async_v3`. Buffers, streams and events are torch's. The tests,
which have no GPU, run it against a stand-in and check the names that are used against the published API.
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

CUDA: Any = torch.cuda
"""Under a name without types: its streams and events are not annotated."""


class TensorRTRunner:
    """One engine in one execution context, on one stream.

    Args:
        path: An engine, built on this GPU by this release; or an ONNX file with a free batch, of which an engine is built
            first, which takes minutes.
        threads: Of no matter to a GPU; here because every runner takes it.
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
        self._held: tuple[tuple[int, ...], ...] = ()

    def __enter__(self) -> Self:
        """Load the engine and make a context.

        Raises:
            MissingPackageError: TensorRT is not installed.
            DeviceError: No GPU, or no memory for the context.
            ConversionError: The engine is of another GPU or release, or none can be built.
        """
        try:
            import tensorrt as trt
        except ImportError as error:
            raise MissingPackageError("tensorrt", "tensorrt", f"running {self.path} in TensorRT") from error
        if not torch.cuda.is_available():
            msg = f"TensorRT {trt.__version__} needs an NVIDIA GPU that torch {torch.__version__} sees; there is none"
            raise DeviceError(msg)
        self._version = trt.__version__
        self._runtime = runtime = trt.Runtime(trt.Logger(trt.Logger.WARNING))
        engine = runtime.deserialize_cuda_engine(self._plan().read_bytes())
        if engine is None:
            msg = (
                f"TensorRT {trt.__version__} does not load {self.path}: engines run only on the GPU and release that built them"
            )
            raise ConversionError(msg)
        context = engine.create_execution_context()
        if context is None:
            msg = f"out of memory: no execution context for {self.path} ({self.path.stat().st_size / 1e6:.3g} MB on disk)"
            raise DeviceError(msg)
        self._engine, self._context, self._stream = engine, context, CUDA.Stream()
        names = (engine.get_tensor_name(index) for index in range(engine.num_io_tensors))
        self._names = {name: engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT for name in names}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /) -> None:
        """Free buffers, context, engine and runtime, in this order."""
        self._buffers.clear()
        self._held = ()
        self._context = None
        self._engine = None
        self._runtime = None
        self._stack.close()

    def run(self, feeds: Feeds) -> list[Array]:
        """Infer once and wait; copies are part of it.

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

    def apart(self, feeds: Feeds) -> TimedPhases:
        """Infer once, timed in parts by CUDA events; inputs lie in pinned memory before the first.

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
        """Settings as recorded."""
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
        """The engine, built now when an ONNX file was given."""
        if self.path.suffix != ".onnx":
            return self.path
        from compress.backends.file_signature import read_signature
        from compress.backends.tensorrt_engine import build_engine, free_shapes

        shapes = free_shapes(read_signature(self.path))
        engine = Path(self._stack.enter_context(tempfile.TemporaryDirectory())) / "model.engine"
        build_engine(self.path, engine, shapes)
        return engine

    def _prepare(self, feeds: Feeds) -> None:
        """Set input shapes and take buffers, once for each set of shapes."""
        input_shapes = tuple(array.shape for array in feeds.values())
        if input_shapes == self._held:
            return
        context = self._context
        if set(feeds) != set(self.shapes()) or not all(context.set_input_shape(*item) for item in _shapes_of(feeds)):
            raise run_error(
                self.path, feeds, self.shapes(), ValueError("no optimization profile of the engine holds these shapes")
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
        self._held = input_shapes

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
            raise run_error(self.path, feeds, self.shapes(), RuntimeError("TensorRT refused to run; its log above says why"))

    def _copy_out(self) -> None:
        for name, (host, device) in self._buffers.items():
            if not self._names[name]:
                host.copy_(device, non_blocking=True)

    def _type(self, name: str) -> torch.dtype:
        """Torch's type for a tensor of the engine."""
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
            msg = f"tensor {name!r} of {self.path} has a type that NumPy does not have; make the network's ends fp32 or int8"
            raise ConversionError(msg)
        return kind


def _shapes_of(feeds: Feeds) -> list[tuple[str, tuple[int, ...]]]:
    return [(name, array.shape) for name, array in feeds.items()]
