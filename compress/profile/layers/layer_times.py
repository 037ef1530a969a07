"""Time of each layer, from the profiler of ONNX Runtime.

The profiler records the time of every kernel. `kernel_to_node` maps kernels to nodes of the file and nodes to torch modules.
The profiler adds time to every kernel. So the file also runs without it, in turns, and the same overhead o is subtracted from
each kernel such that the times add up to a run without the profiler:

    t_k = max(profiled_k − o, SHORTEST_MS),   Σ t_k = time of a run without the profiler

The sums of two files are then comparable, whatever their numbers of kernels.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import compress
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from scipy.optimize import brentq

from compress.backends import onnx_files
from compress.backends.onnxruntime_runner import OnnxRuntimeRunner
from compress.backends.read_graph import all_nodes
from compress.backends.runner_protocol import Array, Feeds
from compress.core.fact import Fact
from compress.profile.layers import kernel_to_node as origins
from compress.profile.layers.kernel_to_node import CONVERSIONS, WEIGHTED, NodeOrigin
from compress.profile.layers.ort_profile import (
    GRAPH,
    Event,
    KernelArguments,
    ProfilingRunner,
    TypedShapes,
    interquartile_mean,
    kernel_name,
    split_runs,
)

MAX_EVENTS = 20_000
"""Largest number of kernel events per file: about 12 MB of JSON."""
FEWEST, MOST = 10, 200
"""Limits of the number of runs per file."""
SHORTEST_MS = 5e-5
"""Shortest time of a kernel after the profiler's overhead is subtracted."""
SLICE_MS = 20.0
"""Length of a time slice."""
OWN = "(layout changes of the runtime)"
"""Module of kernels that belong to no node of the file."""
CONVERTING = "(conversions between int8 and float)"
"""Module of Q/DQ nodes that were not fused."""


@dataclass(frozen=True, eq=False)
class TimedKernel:
    """One kernel of the runtime.

    Attributes:
        operator: Operator of the runtime, such as `QLinearConv`.
        compute_type: Number type of the computation: `float`, `int8`, …; both types for a conversion.
        nodes: Nodes of the file that were fused into the kernel, in graph order; empty for a kernel that the runtime added.
        milliseconds: Time of each run, (n,).
        node_indices: Indices of the nodes in the file.
        inputs: Input tensors in the optimized graph.
        outputs: Output tensors in the optimized graph.
    """

    operator: str
    compute_type: str
    nodes: tuple[NodeOrigin, ...]
    milliseconds: Array
    node_indices: tuple[int, ...] = ()
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()

    @property
    def module(self) -> str:
        """Torch module of a node with weights, else of the first node that has one; else a node name, `CONVERTING` or `OWN`."""
        computing = [node for node in self.nodes if node.operator not in CONVERSIONS]
        weighted = [node for node in computing if node.operator in WEIGHTED]
        module = next((node.module for node in (*weighted, *computing) if node.module), "")
        return module or next((node.name for node in computing if node.name), CONVERTING if self.nodes else OWN)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the nodes without Q/DQ pairs."""
        return tuple(node.name for node in self.nodes if node.name and node.operator not in CONVERSIONS)


@dataclass(frozen=True, eq=False)
class LayerTimes:
    """Times of all kernels of one file, and of whole inferences.

    Attributes:
        kernels: Kernels in the order of execution.
        profiled_ms: Latency of inferences with the profiler, (n,).
        plain_ms: Latency of inferences without the profiler, timed in turns with the profiled ones, (n,).
        settings: Runtime settings.
        overhead_ms: Overhead of the profiler that was subtracted from each kernel.
    """

    kernels: tuple[TimedKernel, ...]
    profiled_ms: Array
    plain_ms: Array
    settings: Mapping[str, str]
    overhead_ms: float = 0.0

    @property
    def summed_ms(self) -> float:
        """Sum of the times of the kernels."""
        return sum(interquartile_mean(kernel.milliseconds) for kernel in self.kernels)

    def total(self, subject: str) -> Fact:
        """Fact with the sum of the kernel times and the latency with and without the profiler; `subject` names the file."""
        return Fact.of(
            "profile.layers_total",
            subject,
            summed_ms=self.summed_ms,
            plain_ms=interquartile_mean(self.plain_ms),
            profiled_ms=interquartile_mean(self.profiled_ms),
            layers=len(self.kernels),
            overhead_us=self.overhead_ms * 1000,
        )


def measure(
    files: Mapping[str, Path], feeds: Mapping[str, Feeds] | None = None, *, threads: int = 1, seconds: float = 2.0
) -> dict[str, LayerTimes]:
    """Profile ONNX files layer by layer, in turns with and without the profiler.

    Args:
        files: ONNX files by name.
        feeds: Inputs by name of the file; None feeds zeros in the input shapes of each file.
        threads: Threads within an operator.
        seconds: Approximate time per file, within 10 to 200 runs.

    Raises:
        ConversionError: A file cannot be loaded or run.
        DeviceError: A file's input shapes are not known.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        plain, profiling, inputs = {}, {}, {}
        for index, (name, path) in enumerate(files.items()):
            file_folder = folder / str(index)
            file_folder.mkdir()
            plain[name] = stack.enter_context(OnnxRuntimeRunner(path, threads=threads))
            inputs[name] = feeds[name] if feeds else plain[name].sample()
            onnx_files.save(origins.tag_nodes(onnx_files.load(path)), file_folder / "tagged.onnx")
            profiling[name] = stack.enter_context(ProfilingRunner(file_folder / "tagged.onnx", file_folder, threads=threads))
        times = _take_turns(plain, profiling, inputs, seconds)
        return {name: _read(profiling[name], path, times[name], plain[name].describe()) for name, path in files.items()}


@dataclass
class _Times:
    """Latencies of one file, ms, with and without the profiler; `counted` marks the profiled runs that count."""

    profiled: list[float] = field(default_factory=list)
    plain: list[float] = field(default_factory=list)
    counted: list[bool] = field(default_factory=list)


def _take_turns(
    plain: Mapping[str, OnnxRuntimeRunner], profiling: Mapping[str, ProfilingRunner], feeds: Mapping[str, Feeds], seconds: float
) -> dict[str, _Times]:
    """Run the files in short slices; the first run of a slice does not count, because it refills the caches."""
    runs, slices = {}, {}
    for name, runner in plain.items():
        run_ms = min(_run_ms(runner, feeds[name]) for _ in range(3))
        kernels = max(1, len(onnx.load(profiling[name].folder / GRAPH, load_external_data=False).graph.node))
        runs[name] = int(np.clip(500 * seconds / run_ms, FEWEST, min(MOST, max(FEWEST, MAX_EVENTS / kernels))))
        slices[name] = int(np.clip(SLICE_MS / run_ms, 1, runs[name]))
    times_by_file = {name: _Times() for name in plain}
    while unfinished := [name for name, times in times_by_file.items() if sum(times.counted) < runs[name]]:
        for name in unfinished:
            times = times_by_file[name]
            times.profiled += _slice(profiling[name], feeds[name], slices[name])
            times.counted += [False, *[True] * slices[name]]
            times.plain += _slice(plain[name], feeds[name], slices[name])[1:]
    return times_by_file


def _slice(runner: OnnxRuntimeRunner, feeds: Feeds, runs: int) -> list[float]:
    return [_run_ms(runner, feeds) for _ in range(runs + 1)]


def _run_ms(runner: OnnxRuntimeRunner, feeds: Feeds) -> float:
    start = time.perf_counter_ns()
    runner.run(feeds)
    return (time.perf_counter_ns() - start) / 1e6


def _read(runner: ProfilingRunner, path: Path, times: _Times, settings: Mapping[str, str]) -> LayerTimes:
    """Read the profiler's events of the counted runs and subtract the overhead."""
    runs = list(compress(split_runs(runner.read_events()), times.counted))
    profiled_ms = np.array([[run[index]["dur"] / 1000 for run in runs] for index in range(len(runs[0]))])
    plain_ms = np.array(times.plain)
    means_ms = np.array([interquartile_mean(series) for series in profiled_ms])
    overhead_ms = profiler_overhead_ms(means_ms, interquartile_mean(plain_ms))
    if overhead_ms:
        profiled_ms = np.maximum(profiled_ms - overhead_ms, SHORTEST_MS)
    kernels = _kernels(runs[0], profiled_ms, onnx_files.load(path), onnx.load(runner.folder / GRAPH, load_external_data=False))
    whole_ms = np.array(list(compress(times.profiled, times.counted)))
    return LayerTimes(kernels, whole_ms, plain_ms, settings, overhead_ms)


def _kernels(
    events: Sequence[Event], milliseconds: Array, model: onnx.ModelProto, optimized: onnx.ModelProto
) -> tuple[TimedKernel, ...]:
    """Kernels with their nodes, from the events of one run and the times of all runs, (kernels, runs)."""
    nodes = origins.node_origins(model)
    indices_by_kernel = origins.nodes_by_kernel(origins.tag_nodes(model), optimized)
    optimized_nodes = {node.name: node for node in all_nodes(optimized.graph)}
    kernels = []
    for event, series in zip(events, milliseconds, strict=True):
        name = kernel_name(event)
        node = optimized_nodes.get(name, onnx.NodeProto())
        indices = indices_by_kernel.get(name, ())
        kernels.append(
            TimedKernel(
                operator=event["args"].get("op_name", "?"),
                compute_type=kernel_compute_type(event["args"]),
                nodes=tuple(nodes[index] for index in indices),
                milliseconds=series,
                node_indices=indices,
                inputs=tuple(node.input),
                outputs=tuple(node.output),
            )
        )
    return tuple(kernels)


def profiler_overhead_ms(kernels_ms: Array, whole_ms: float) -> float:
    """Overhead o per kernel, ms, such that the kernel times add up to an inference; 0 if their sum does not exceed it.

    Args:
        kernels_ms: Profiled time of each kernel, ms, (n,).
        whole_ms: Latency of an inference without the profiler, ms.
    """
    if kernels_ms.sum() <= whole_ms:
        return 0.0
    largest = float(kernels_ms.max())

    def excess(overhead_ms: float) -> float:
        return float(np.maximum(kernels_ms - overhead_ms, SHORTEST_MS).sum()) - whole_ms

    return largest if excess(largest) > 0 else float(brentq(excess, 0.0, largest))


def kernel_compute_type(args: KernelArguments) -> str:
    """Number type of a kernel from its first input and output: `int8`, or `float → int8` if they differ."""

    def first_type(shapes: TypedShapes) -> str:
        name = next(iter(shapes[0]), "?") if shapes else "?"
        return "int8" if name in ("int8", "uint8") else str(name)

    before, after = first_type(args.get("input_type_shape") or []), first_type(args.get("output_type_shape") or [])
    return before if before == after else f"{before} → {after}"
