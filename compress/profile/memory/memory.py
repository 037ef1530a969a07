"""Size of an ONNX file, of its weights and after compression, and its resident memory in a separate process."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

import onnx
from onnx import helper
from onnx.external_data_helper import ExternalDataInfo

from compress.backends.read_graph import all_nodes, read_graph
from compress.backends.runner_protocol import Array, feed_shapes
from compress.core.errors import ConversionError, DeviceError
from compress.core.language import gettext
from compress.core.record import Quantity
from compress.profile.memory import gpu_memory as memory_gpu

PROBE = Path(__file__).with_name("probe.py")
PACKAGE_ROOT = Path(__file__).parents[3]
CHUNK = 1 << 20
TIMEOUT_S = 600
RUNS = 8
ON_CPU = ("CPUExecutionProvider", "openvino")
RUNNER = "runner:"
"""Prefix of a runtime of `compress` in place of an execution provider."""
RAISED = re.compile(r"^[A-Za-z_][\w.]*(Error|Exception|Fail|Interrupt|[A-Z]\w*): ")
"""Start of the last line of a traceback."""
LONGEST = 500
"""Longest part of an error that is shown."""
UNITS = {
    "memory_bytes": "bytes",
    "memory_model_bytes": "bytes",
    "memory_first_bytes": "bytes",
    "memory_steady_bytes": "bytes",
    "memory_arena_bytes": "bytes",
    "memory_gpu_bytes": "bytes",
    "load_ms": "ms",
    "latency_first_ms": "ms",
}


class ProbeError(DeviceError):
    """The process that loads and runs a model failed.

    Args:
        message: What was not measured, and why.
        why: Last error of the process alone.
    """

    def __init__(self, message: str, why: str) -> None:
        super().__init__(message)
        self.why = why


@dataclass(frozen=True)
class Footprint:
    """Memory (bytes) and time (ms) of a model in a new process.

    Attributes:
        before: Resident memory before loading, with Python, NumPy and the runtime imported.
        loaded: Resident memory after loading.
        first: Resident memory after the first run.
        steady: Resident memory after the last run.
        peak: Largest resident memory until the end of the runs.
        load_ms: Time to load.
        first_ms: Time of the first run.
        steady_ms: Median time of the other runs.
        arena: Memory that the runtime's arena allocated from the system; None where the runtime does not report it.
        arena_used: Largest part of the arena in use at one time.
        peaks: Largest resident memory until the end of the runs of each of several inputs, in their order.
    """

    before: int
    loaded: int
    first: int
    steady: int
    peak: int
    load_ms: float
    first_ms: float
    steady_ms: float
    arena: int | None = None
    arena_used: int | None = None
    peaks: Sequence[int] = ()

    @property
    def model(self) -> int:
        """Increase of the peak over the memory before loading."""
        return max(self.peak - self.before, 0)


def peak(
    path: Path, feeds: Mapping[str, Array], *, threads: int = 1, runs: int = RUNS, provider: str = "CPUExecutionProvider"
) -> Footprint:
    """Load and run a model in a new process and measure its memory.

    Args:
        path: ONNX file.
        feeds: Example inputs; float inputs become zeros, integer inputs their first value, in the same shapes.
        threads: Threads within an operator.
        runs: Number of inferences, at least two.
        provider: Execution provider of ONNX Runtime, `openvino`, or `runner:` and a runtime of the registry.

    Raises:
        DeviceError: The process failed, or was killed because memory ran out.
    """
    return _run_probe(path, feeds, threads, runs, provider)[0]


def peaks(
    path: Path, feeds: Sequence[Mapping[str, Array]], *, threads: int = 1, provider: str = "CPUExecutionProvider"
) -> tuple[int, ...]:
    """Peak resident memory of one new process after the runs of each of several inputs, in bytes and in their order.

    Args:
        path: ONNX file.
        feeds: Example inputs, as in `peak`; from small to large, since the peak of a process never falls.
        threads: Threads within an operator.
        provider: Execution provider of ONNX Runtime, or `openvino`.

    Raises:
        DeviceError: The process failed, or was killed because memory ran out.
    """
    return tuple(_run_probe(path, tuple(feeds), threads, 2, provider)[0].peaks)


def _run_probe(
    path: Path, feeds: Mapping[str, Array] | tuple[Mapping[str, Array], ...], threads: int, runs: int, provider: str
) -> tuple[Footprint, memory_gpu.GpuPeak]:
    shapes = json.dumps([*map(feed_shapes, feeds)] if isinstance(feeds, tuple) else feed_shapes(feeds))
    # -P keeps the probe's folder off the path: a module beside it would shadow another one of the same name
    command = [sys.executable, "-P", str(PROBE), str(path.resolve()), str(threads), str(runs), shapes, provider]
    on_gpu = _on_gpu(provider)
    with (
        subprocess.Popen(  # noqa: S603
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace", env=_environment()
        ) as process,
        memory_gpu.watch_gpu_memory(process.pid, enabled=on_gpu) as gpu,
    ):
        try:
            output, errors = process.communicate(timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired as error:
            process.kill()
            msg = gettext(
                "memory of {path} was not measured: {runs} runs took longer than {timeout_s} s",
                path=path,
                runs=runs,
                timeout_s=TIMEOUT_S,
            )
            raise ProbeError(
                msg, gettext("{runs} runs took longer than {timeout_s} s", runs=runs, timeout_s=TIMEOUT_S)
            ) from error
    if process.returncode != 0:
        killed = gettext("it was killed, probably because memory ran out")
        why = killed if process.returncode < 0 else last_error(errors)
        msg = gettext(
            "memory of {path} was not measured: the process that ran it ended with {returncode}; {why}",
            path=path,
            returncode=process.returncode,
            why=why,
        )
        raise ProbeError(msg, why)
    return Footprint(**json.loads(output.splitlines()[-1])), gpu


def quantities(
    path: Path, feeds: Mapping[str, Array], *, threads: int = 1, provider: str = "CPUExecutionProvider"
) -> dict[str, Quantity]:
    """Memory of one file, load time and latency of the first run, in a new process.

    Returns:
        `memory_bytes`, `memory_model_bytes`, `memory_first_bytes`, `memory_steady_bytes`, `memory_arena_bytes`, `load_ms` and
        `latency_first_ms`; on a GPU also `memory_gpu_bytes`. Missing with the reason if the process failed.
    """
    try:
        return measured_quantities(path, feeds, threads=threads, provider=provider)
    except DeviceError as error:
        on_gpu = _on_gpu(provider)
        units = UNITS if on_gpu else {name: unit for name, unit in UNITS.items() if name != "memory_gpu_bytes"}
        return {name: Quantity.missing(unit, str(error)) for name, unit in units.items()}


def measured_quantities(
    path: Path, feeds: Mapping[str, Array], *, threads: int = 1, provider: str = "CPUExecutionProvider"
) -> dict[str, Quantity]:
    """The quantities of `quantities`.

    Raises:
        ProbeError: The process failed.
    """
    on_gpu = _on_gpu(provider)
    footprint, gpu = _run_probe(path, feeds, threads, RUNS, provider)
    runtime = "OpenVINO" if provider == "openvino" else provider.removeprefix(RUNNER)
    runtime = "ONNX Runtime" if runtime == provider else runtime
    return footprint_quantities(footprint, runtime) | ({"memory_gpu_bytes": gpu.quantity()} if on_gpu else {})


def last_error(text: str) -> str:
    """The last error of a Python process, without the traceback and without the class of an error of this package."""
    lines = text.strip().splitlines()
    starts = [index for index, line in enumerate(lines) if RAISED.match(line)]
    if not starts:
        return text.strip()[-LONGEST:]
    error = "\n".join(lines[starts[-1] :])
    return re.sub(r"^compress\.core\.errors\.\w+: ", "", error)[-LONGEST:]


def _environment() -> dict[str, str]:
    """Variables of the process, which finds this package for `runner:`."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(PACKAGE_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])}


def _on_gpu(provider: str) -> bool:
    return provider not in ON_CPU and not provider.startswith(RUNNER)


def footprint_quantities(footprint: Footprint, runtime: str = "ONNX Runtime") -> dict[str, Quantity]:
    """Quantities of a footprint, see `quantities`; used for other devices too."""
    how = gettext("in a new process of {runtime}", runtime=runtime)
    first = gettext("{how}; {steady_ms:.3f} ms in later runs", how=how, steady_ms=footprint.steady_ms)
    numbers = {
        "memory_bytes": (
            footprint.peak,
            gettext(
                "peak resident {how}, {before:.0f} MB of it Python and the runtime",
                how=how,
                before=footprint.before / 1000000.0,
            ),
        ),
        "memory_model_bytes": (footprint.model, gettext("peak resident above that before loading, {how}", how=how)),
        "memory_first_bytes": (footprint.first, gettext("resident after the first run, {how}", how=how)),
        "memory_steady_bytes": (footprint.steady, gettext("resident after {runs} runs, {how}", runs=RUNS, how=how)),
        "load_ms": (
            footprint.load_ms,
            gettext("from file to session {how}; the file may or may not have been in the system's cache", how=how),
        ),
        "latency_first_ms": (footprint.first_ms, first),
    }
    quantities_by_name = {
        name: Quantity.measured(value, UNITS[name], detail, runs=1) for name, (value, detail) in numbers.items()
    }
    quantities_by_name["memory_arena_bytes"] = arena(footprint, runtime)
    return quantities_by_name


def arena(footprint: Footprint, runtime: str = "ONNX Runtime") -> Quantity:
    """Memory of the runtime's arena; without the weights where the runtime stores them elsewhere."""
    if footprint.arena is None and runtime != "ONNX Runtime":
        return Quantity.missing("bytes", gettext("{runtime} does not report the memory of its allocator", runtime=runtime))
    if footprint.arena is None:
        return Quantity.missing(
            "bytes", gettext("this ONNX Runtime does not report its arena in its profile, or was built without one")
        )
    used = f"{footprint.arena_used / 1e6:.2f} MB" if footprint.arena_used is not None else gettext("an unknown part")
    detail = gettext(
        "allocated from the system by ONNX Runtime's arena, from its profile; at most {used} in use at one time", used=used
    )
    return Quantity.measured(footprint.arena, "bytes", detail, runs=1)


def sizes(path: Path) -> dict[str, Quantity]:
    """`size_bytes` on disk, external data included, and `weights_bytes`.

    Raises:
        ConversionError: External data is missing.
    """
    files = parts(path)
    if missing := [str(part) for part in files if not part.is_file()]:
        msg = gettext(
            "cannot measure {path}: its external data is missing: keep {missing} beside the .onnx file",
            path=path,
            missing=", ".join(missing),
        )
        raise ConversionError(msg)
    return {
        "size_bytes": Quantity.measured(sum(file.stat().st_size for file in files), "bytes", gettext("file size")),
        "weights_bytes": Quantity.measured(weights(path), "bytes", gettext("sum over initializers and constants")),
    }


def compressed(files: Sequence[Path]) -> Quantity:
    """Size of all files of a network after zlib compression at level 1: an approximation of the download size."""
    total = 0
    for part in files:
        packer = zlib.compressobj(1)
        with part.open("rb") as file:
            while chunk := file.read(CHUNK):
                total += len(packer.compress(chunk))
        total += len(packer.flush())
    return Quantity.measured(total, "bytes", gettext("zlib, level 1"))


def parts(path: Path) -> list[Path]:
    """An ONNX file and its external data files."""
    return [path, *_external(path)]


def weights(path: Path) -> int:
    """Bytes of all tensors stored in a model, from their shapes: external data is not read."""
    return sum(_stored_bytes(read_graph(path).graph))


def _stored_bytes(graph: onnx.GraphProto) -> Iterator[int]:
    """Bytes of each initializer and constant, those in subgraphs included."""
    for tensor in _stored_tensors(graph):
        yield prod(tensor.dims) * int(helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)
    for attribute in _attributes(graph):
        yield 4 * len(attribute.floats) * (attribute.name == "value_floats")
        yield 8 * len(attribute.ints) * (attribute.name == "value_ints")


def _stored_tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    sparse = [*graph.sparse_initializer]
    for attribute in _attributes(graph):
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        sparse += [*([attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else ()), *attribute.sparse_tensors]
        for subgraph in (*([attribute.g] if attribute.HasField("g") else ()), *attribute.graphs):
            yield from subgraph.initializer
            sparse += subgraph.sparse_initializer
    for tensor in sparse:
        yield from (tensor.values, tensor.indices)


def _attributes(graph: onnx.GraphProto) -> Iterator[onnx.AttributeProto]:
    for node in all_nodes(graph):
        yield from node.attribute


def _external(path: Path) -> list[Path]:
    """External data files of an ONNX file."""
    locations = {
        ExternalDataInfo(tensor).location for tensor in _stored_tensors(read_graph(path).graph) if tensor.external_data
    }
    return [path.parent / location for location in sorted(locations)]
