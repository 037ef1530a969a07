"""Runner for ONNX Runtime, on the CPU or another execution provider of the installed package."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import onnxruntime

from compress.backends import runner_protocol as base
from compress.backends.runner_protocol import Array, Feeds, describe_affinity, run_error
from compress.core.errors import ConversionError, DeviceError, nearest
from compress.core.language import gettext
from compress.core.memory_errors import is_out_of_memory

Level = Literal["all", "extended", "basic", "off"]
TYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(int8)": "int8",
    "tensor(uint8)": "uint8",
    "tensor(int16)": "int16",
    "tensor(uint16)": "uint16",
    "tensor(uint32)": "uint32",
    "tensor(uint64)": "uint64",
    "tensor(bool)": "bool",
}
PROVIDERS = {
    "cpu": ("CPUExecutionProvider", "onnxruntime"),
    "cuda": ("CUDAExecutionProvider", "onnxruntime-gpu"),
    "tensorrt": ("TensorrtExecutionProvider", "onnxruntime-gpu"),
    "openvino": ("OpenVINOExecutionProvider", "onnxruntime-openvino"),
    "migraphx": ("MIGraphXExecutionProvider", "onnxruntime-migraphx"),
    "qnn": ("QNNExecutionProvider", "onnxruntime-qnn"),
    "dml": ("DmlExecutionProvider", "onnxruntime-directml"),
    "coreml": ("CoreMLExecutionProvider", "onnxruntime"),
    "xnnpack": ("XnnpackExecutionProvider", "onnxruntime, built with --use_xnnpack"),
}
"""Execution providers by short name: name in ONNX Runtime, and Python package that contains it."""


def provider_of(runtime: str) -> str:
    """Execution provider of a runtime such as `onnxruntime:cuda`; `openvino` for OpenVINO, else the CPU provider."""
    name, _, short = runtime.partition(":")
    if name == "openvino":
        return name
    return PROVIDERS.get(short, PROVIDERS["cpu"])[0] if name == "onnxruntime" else PROVIDERS["cpu"][0]


QUIET = 4
"""Log only fatal errors; other errors are raised with the same text."""
_NO_EXTERNAL_DATA = "its external data file is missing: keep the weights file beside the .onnx file"
_NO_ONNX = "it is not an ONNX file, or a truncated one"
ADVICE = {
    "external data": _NO_EXTERNAL_DATA,
    "external initializer": _NO_EXTERNAL_DATA,
    "externally stored data": _NO_EXTERNAL_DATA,
    "is not a registered function/op": (
        "it has a custom operator that ONNX Runtime does not know: export it with ONNX operators, or with its definition"
    ),
    "unable to read the model": _NO_ONNX,
    "opset": "its opset is newer than this runtime: export with a lower opset or `pip install -U onnxruntime`",
    "ir version": "its IR version is newer than this runtime: `pip install -U onnxruntime`, or save with a lower one",
    "protobuf": _NO_ONNX,
}
"""Cause and remedy, by a part of the runtime's message."""


class OnnxRuntimeRunner:
    """Runs one ONNX file in one session.

    Args:
        path: ONNX file.
        threads: Threads within an operator; 0 uses all processors.
        spinning: Idle threads spin instead of sleeping: faster with several threads, but takes time from other processes.
        level: Level of graph optimization.
        provider: Short name in `PROVIDERS`; nodes that it does not support run on the CPU.
    """

    def __init__(
        self, path: Path, *, threads: int = 1, spinning: bool = False, level: Level = "all", provider: str = "cpu"
    ) -> None:
        self.path = path
        self.threads = threads
        self.spinning = spinning
        self.level = level
        self.provider = provider
        self._session: onnxruntime.InferenceSession | None = None
        self._outputs: list[str] = []

    def __enter__(self) -> Self:
        """Load the file.

        Raises:
            ConversionError: The file is not ONNX, incomplete, or newer than the runtime supports.
            DeviceError: The provider is not available, or memory ran out.
        """
        provider = provider_name(self.provider)
        providers = list(dict.fromkeys((provider, "CPUExecutionProvider")))
        try:
            session = onnxruntime.InferenceSession(str(self.path), self._options(), providers=providers)
        except Exception as error:
            if not (_from_runtime(error) or isinstance(error, MemoryError)):
                raise
            raise explain_error(self.path, error) from error
        if provider not in (running := session.get_providers()):
            self._session = None
            msg = gettext(
                "{provider} did not start, and ONNX Runtime uses {running}: check that its driver is installed",
                provider=provider,
                running=", ".join(running),
            )
            raise DeviceError(msg)
        self._session = session
        self._outputs = [output.name for output in session.get_outputs()]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /) -> None:
        """Free the session."""
        self._session = None

    def reload(self) -> None:
        """Load again. The old session is freed after the new one is created, so that the new one has other memory."""
        self.__enter__()

    def run(self, feeds: Feeds) -> list[Array]:
        """Run once and return the outputs in graph order; on a GPU this includes copies to it and back.

        Raises:
            ConversionError: The inputs do not fit.
            DeviceError: Memory ran out.
        """
        session = self._loaded()
        try:
            outputs: list[Array] = session.run(self._outputs, feeds)
        except Exception as error:
            if not (_from_runtime(error) or isinstance(error, MemoryError | ValueError)):
                raise
            raise run_error(self.path, feeds, self.shapes(), error) from error
        return outputs

    def describe(self) -> dict[str, str]:
        """Settings for the record."""
        return {
            "runtime": f"ONNX Runtime {onnxruntime.__version__}",
            "provider": ", ".join(self._loaded().get_providers()),
            "threads": str(self.threads),
            "between operators": "1, sequential",
            "spinning": "on" if self.spinning else "off",
            "graph optimization": self.level,
            "affinity": describe_affinity(),
        }

    def shapes(self) -> dict[str, tuple[tuple[int | str | None, ...], str]]:
        """Shape and NumPy type of each input."""
        return {item.name: (tuple(item.shape), TYPES.get(item.type, item.type)) for item in self._loaded().get_inputs()}

    def sample(self, batch: int = 1) -> dict[str, Array]:
        """Zeros as inputs.

        Raises:
            DeviceError: The shape of an input is not known.
        """
        return base.zero_feeds(self, batch)

    @property
    def session(self) -> onnxruntime.InferenceSession:
        """The session of a loaded file, for runs that keep their tensors in place."""
        return self._loaded()

    def _loaded(self) -> onnxruntime.InferenceSession:
        if self._session is None:
            msg = gettext("{path} is not loaded: use the runner in a with block", path=self.path)
            raise RuntimeError(msg)
        return self._session

    def _options(self) -> onnxruntime.SessionOptions:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        levels = onnxruntime.GraphOptimizationLevel
        options.graph_optimization_level = {
            "all": levels.ORT_ENABLE_ALL,
            "extended": levels.ORT_ENABLE_EXTENDED,
            "basic": levels.ORT_ENABLE_BASIC,
            "off": levels.ORT_DISABLE_ALL,
        }[self.level]
        options.log_severity_level = QUIET
        options.add_session_config_entry("session.intra_op.allow_spinning", "1" if self.spinning else "0")
        return options


def provider_name(short: str) -> str:
    """Name in ONNX Runtime of an installed execution provider.

    Args:
        short: Short name in `PROVIDERS`.

    Raises:
        DeviceError: The provider is unknown or not installed; the message lists the installed providers and the package.
    """
    if short not in PROVIDERS:
        msg = gettext("unknown execution provider {short!r}: {hint}", short=short, hint=nearest(short, PROVIDERS))
        raise DeviceError(msg)
    name, package = PROVIDERS[short]
    available = onnxruntime.get_available_providers()
    if name not in available:
        msg = gettext(
            "the installed ONNX Runtime {version} has no {name}, only {available}. Install the package {package}",
            version=onnxruntime.__version__,
            name=name,
            available=", ".join(available),
            package=package,
        )
        raise DeviceError(msg)
    return name


def explain_error(path: Path, error: BaseException, runtime: str = "ONNX Runtime") -> ConversionError | DeviceError:
    """The error to raise for an error at loading: cause, remedy, and message of the runtime."""
    text = str(error).strip()
    if not path.exists():
        return ConversionError(gettext("cannot load {path}: there is no such file", path=path))
    if is_out_of_memory(error):
        size = path.stat().st_size / 1e6
        return DeviceError(
            gettext(
                "out of memory while loading {path} ({size:.3g} MB on disk): use a smaller network ({text})",
                path=path,
                size=size,
                text=text[-300:],
            )
        )
    advice = next(
        (gettext(ADVICE[mark]) for mark in ADVICE if mark in text.lower()), gettext("{runtime} rejects it", runtime=runtime)
    )
    return ConversionError(gettext("cannot load {path}: {advice} ({text})", path=path, advice=advice, text=text[-300:]))


def _from_runtime(error: BaseException) -> bool:
    return type(error).__module__.startswith("onnxruntime")
