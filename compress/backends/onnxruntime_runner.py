"""ONNX Runtime: the CPU, and whatever other execution providers the installed package brings."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import onnxruntime

from compress.backends import runner_protocol as base
from compress.backends.runner_protocol import Array, Feeds, describe_affinity, run_error
from compress.core.errors import ConversionError, DeviceError, nearest
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
"""Execution providers by short name: the runtime's name of each, and the package that brings it."""


def provider_of(runtime: str) -> str:
    """The runtime's name of what executes `onnxruntime:cuda` and its like; the CPU's for every other runtime but OpenVINO."""
    name, _, short = runtime.partition(":")
    if name == "openvino":
        return name
    return PROVIDERS.get(short, PROVIDERS["cpu"])[0] if name == "onnxruntime" else PROVIDERS["cpu"][0]


QUIET = 4
"""Severity from which ONNX Runtime logs: fatal; its errors come back as exceptions with the same text."""
ADVICE = (
    ("external data", "its external data file is missing: keep the weights file beside the .onnx file"),
    ("external initializer", "its external data file is missing: keep the weights file beside the .onnx file"),
    ("externally stored data", "its external data file is missing: keep the weights file beside the .onnx file"),
    (
        "is not a registered function/op",
        "it has a custom operator that ONNX Runtime does not know: export it with operators of ONNX, or with its definition",
    ),
    ("unable to read the model", "it is not an ONNX file, or a truncated one"),
    ("opset", "its opset is newer than this runtime: export with a lower opset or `pip install -U onnxruntime`"),
    ("ir version", "its IR version is newer than this runtime: `pip install -U onnxruntime`, or save with a lower one"),
    ("protobuf", "it is not an ONNX file, or a truncated one"),
)
"""What to do, by a word in the runtime's message."""


class OnnxRuntimeRunner:
    """One ONNX file in one session of its own.

    Args:
        path: ONNX file.
        threads: Threads within an operator; 0 takes all.
        spinning: Let idle threads spin instead of sleep: faster with several threads, at the cost of the others' time.
        level: Graph optimisation; `off` shows the graph as it stands.
        provider: A short name of `PROVIDERS`. What it cannot run, the CPU runs.
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
        """Load.

        Raises:
            ConversionError: Not an ONNX file, incomplete, or newer than the runtime.
            DeviceError: The provider is not there, or memory ran out.
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
            msg = f"{provider} did not start and ONNX Runtime fell back to {', '.join(running)}: is its driver installed?"
            raise DeviceError(msg)
        self._session = session
        self._outputs = [output.name for output in session.get_outputs()]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /) -> None:
        """Drop the session."""
        self._session = None

    def reload(self) -> None:
        """Load again; the session before it goes once the new one is there, so that their memory differs."""
        self.__enter__()

    def run(self, feeds: Feeds) -> list[Array]:
        """Infer once; the outputs in graph order. On a GPU this includes the copies to it and back.

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
        """Settings as recorded."""
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
        """Zeros to feed.

        Raises:
            DeviceError: An input's shape is not known.
        """
        return base.zero_feeds(self, batch)

    def _loaded(self) -> onnxruntime.InferenceSession:
        if self._session is None:
            msg = f"{self.path} is not loaded: use the runner in a with block"
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
    """ONNX Runtime's name of an execution provider that is installed.

    Args:
        short: As in `PROVIDERS`.

    Raises:
        DeviceError: Unknown, or not in the installed package; the message lists those that are and the package to install.
    """
    if short not in PROVIDERS:
        msg = f"unknown execution provider {short!r}: {nearest(short, PROVIDERS)}"
        raise DeviceError(msg)
    name, package = PROVIDERS[short]
    there = onnxruntime.get_available_providers()
    if name not in there:
        msg = (
            f"the installed ONNX Runtime {onnxruntime.__version__} has no {name}; it has {', '.join(there)}. "
            f"Install the package that brings it: {package}"
        )
        raise DeviceError(msg)
    return name


def explain_error(path: Path, error: BaseException, runtime: str = "ONNX Runtime") -> ConversionError | DeviceError:
    """What a loading fault means and what to do; the runtime's own words at the end."""
    text = str(error).strip()
    if not path.exists():
        return ConversionError(f"cannot load {path}: there is no such file")
    if is_out_of_memory(error):
        size = path.stat().st_size / 1e6
        return DeviceError(f"out of memory while loading {path} ({size:.3g} MB on disk): use a smaller network ({text[-300:]})")
    advice = next((advice for mark, advice in ADVICE if mark in text.lower()), f"{runtime} does not accept it")
    return ConversionError(f"cannot load {path}: {advice} ({text[-300:]})")


def _from_runtime(error: BaseException) -> bool:
    return type(error).__module__.startswith("onnxruntime")
