"""Runner for OpenVINO on the CPU, which reads ONNX files; on some x86 CPUs and networks it is faster than ONNX Runtime."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np

from compress.backends import runner_protocol as base
from compress.backends.onnxruntime_runner import explain_error
from compress.backends.read_graph import read_graph
from compress.backends.runner_protocol import Array, Feeds, describe_affinity, run_error
from compress.core.errors import MissingPackageError
from compress.core.language import gettext

if TYPE_CHECKING:
    from openvino import CompiledModel, Core, InferRequest


class OpenVinoRunner:
    """Runs one ONNX file, compiled for the CPU with the performance hint LATENCY.

    Floats are computed in float32, so that outputs are comparable with other runtimes; by default OpenVINO may use bfloat16.

    Args:
        path: ONNX file.
        threads: Threads of an inference; 0 uses all processors.
    """

    def __init__(self, path: Path, *, threads: int = 1) -> None:
        self.path = path
        self.threads = threads
        self._model: CompiledModel | None = None
        self._request: InferRequest | None = None
        self._version = ""

    def __enter__(self) -> Self:
        """Read and compile the file.

        Raises:
            MissingPackageError: OpenVINO is not installed.
            ConversionError: The file is not ONNX, incomplete, or has an operator that OpenVINO does not support.
            DeviceError: Memory ran out.
        """
        try:
            import openvino
        except ImportError as error:
            raise MissingPackageError("openvino", "openvino", gettext("running {path} in OpenVINO", path=self.path)) from error
        read_graph(self.path)  # checks that it is ONNX: OpenVINO would try other formats and print their errors
        self._version = openvino.__version__
        settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        if self.threads:
            settings["INFERENCE_NUM_THREADS"] = str(self.threads)
        try:
            core = _shared_core()
            model = core.compile_model(core.read_model(self.path), "CPU", settings)
            self._model, self._request = model, model.create_infer_request()
        except (RuntimeError, MemoryError) as error:
            raise explain_error(self.path, error, runtime="OpenVINO") from error
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /) -> None:
        """Free the compiled model."""
        self._request = self._model = None

    def reload(self) -> None:
        """Compile again. The old model is freed after the new one is compiled, so that the new one has other memory."""
        self.__enter__()

    def run(self, feeds: Feeds) -> list[Array]:
        """Run once and return the outputs in graph order.

        Raises:
            ConversionError: The inputs do not fit.
            DeviceError: Memory ran out.
        """
        _, request = self._loaded()
        try:
            outputs = request.infer(feeds, share_inputs=True, share_outputs=False)
        except (RuntimeError, MemoryError) as error:
            raise run_error(self.path, feeds, self.shapes(), error) from error
        return [outputs[index] for index in range(len(outputs))]

    def describe(self) -> dict[str, str]:
        """Settings that the compiled model reports, for the record."""
        names = ("PERFORMANCE_HINT", "NUM_STREAMS", "ENABLE_CPU_PINNING", "ENABLE_HYPER_THREADING", "INFERENCE_PRECISION_HINT")
        model, _ = self._loaded()
        settings = {name.replace("_", " ").lower(): _plain(model.get_property(name)) for name in names}
        return {
            "runtime": f"OpenVINO {self._version.split('-')[0]}",
            "threads": _plain(model.get_property("INFERENCE_NUM_THREADS")),
            **settings,
            "affinity": describe_affinity(),
        }

    def shapes(self) -> dict[str, tuple[tuple[int | str | None, ...], str]]:
        """Shape and NumPy type of each input; a free dimension is None."""
        return {
            port.get_any_name(): (
                tuple(size.get_length() if size.is_static else None for size in port.get_partial_shape()),
                np.dtype(port.get_element_type().to_dtype()).name,
            )
            for port in self._loaded()[0].inputs
        }

    def sample(self, batch: int = 1) -> dict[str, Array]:
        """Zeros as inputs.

        Raises:
            DeviceError: The shape of an input is not known.
        """
        return base.zero_feeds(self, batch)

    def _loaded(self) -> tuple[CompiledModel, InferRequest]:
        if self._model is None or self._request is None:
            msg = gettext("{path} is not loaded: use the runner in a with block", path=self.path)
            raise RuntimeError(msg)
        return self._model, self._request


@cache
def _shared_core() -> Core:
    """The only `Core` of the process: some builds of OpenVINO crash when a second one loads its plugins.

    See https://github.com/openvinotoolkit/openvino/issues/35338.
    """
    import openvino

    return openvino.Core()


def _plain(value: object) -> str:
    """A property as text; `Type` objects print as <Type: 'float32'>."""
    return str(value).removeprefix("<Type: '").removesuffix("'>")
