"""Time of each layer, from the runtime's own profiler.

ONNX Runtime records the time of every kernel that it runs. `kernel_to_node` maps a kernel to nodes of the file, and those to
torch modules. The profiler itself takes time at every kernel. The same file also runs without it, in turns, and the excess of
the sum over such a run is subtracted, the same time from each kernel:

    t_k = max(profiled_k − o, SHORTEST_MS)   with o so that Σ t_k = time of a run without the profiler

So the sums of two files compare as their latencies do, however many kernels each has.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import compress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
from scipy.optimize import brentq

from compress.backends import onnx_files
from compress.backends.onnxruntime_runner import OnnxRuntimeRunner
from compress.backends.runner_protocol import Array, Feeds
from compress.core.fact import Fact
from compress.profile.layers import kernel_to_node as origins
from compress.profile.layers.kernel_to_node import CONVERSIONS, WEIGHTED, NodeOrigin
from compress.profile.layers.ort_profile import GRAPH, ProfilingRunner, interquartile_mean, kernel_name, split_runs

MAX_EVENTS = 20_000
"""Kernel stamps kept for one file: some 12 MB of JSON to read back."""
FEWEST, MOST = 10, 200
"""Runs of each file."""
SHORTEST_MS = 5e-5
"""Least time of a kernel after the profiler's own time is subtracted."""
SLICE_MS = 20.0
"""Length of a turn."""
OWN = "(layout changes of the runtime)"
"""Module of kernels with no node behind them."""
CONVERTING = "(conversions between int8 and float)"
"""Module of Q/DQ nodes that were fused into nothing."""


@dataclass(frozen=True, eq=False)
class TimedKernel:
    """What the runtime ran as one piece.

    Attributes:
        operator: The runtime's name of it, such as `QLinearConv`.
        number: What it computes with: `float32`, `int8`, …; a conversion shows both.
        nodes: Nodes of the file fused into it, in graph order; empty for one that the runtime added.
        milliseconds: One for each run, (n,).
        numbers: Places of its nodes in the file.
        reads: Tensors of the runtime's own graph that go in.
        gives: Those that come out.
    """

    operator: str
    number: str
    nodes: tuple[NodeOrigin, ...]
    milliseconds: Array
    numbers: tuple[int, ...] = ()
    reads: tuple[str, ...] = ()
    gives: tuple[str, ...] = ()

    @property
    def module(self) -> str:
        """Torch module: of the node with weights, else of the first; a name of the runtime where there is none."""
        told = [node for node in self.nodes if node.operator not in CONVERSIONS]
        chosen = next((node for node in told if node.operator in WEIGHTED and node.module), None)
        chosen = chosen or next((node for node in told if node.module), None)
        if chosen:
            return chosen.module
        return next((node.name for node in told if node.name), CONVERTING if self.nodes else OWN)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of its nodes; Q/DQ pairs have none."""
        return tuple(node.name for node in self.nodes if node.name and node.operator not in CONVERSIONS)


@dataclass(frozen=True, eq=False)
class LayerTimes:
    """All kernels of one file, and what the whole took.

    Attributes:
        kernels: In the order in which they ran.
        profiled_ms: Whole inferences while stamping, by the caller's clock, (n,).
        plain_ms: Whole inferences without, in turns with the others, (n,).
        settings: Runtime settings.
        overhead_ms: Time of the profiler that was subtracted from each kernel.
    """

    kernels: tuple[TimedKernel, ...]
    profiled_ms: Array
    plain_ms: Array
    settings: Mapping[str, str]
    overhead_ms: float = 0.0

    @property
    def summed_ms(self) -> float:
        """Sum over the kernels' times."""
        return sum(interquartile_mean(kernel.milliseconds) for kernel in self.kernels)

    def total(self, subject: str) -> Fact:
        """The sum over the layers, next to whole inferences with and without the profiler.

        Args:
            subject: Name of the file.
        """
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
    """Profile ONNX files layer by layer, in turns with each other and with themselves unprofiled.

    Args:
        files: ONNX files by name.
        feeds: Inputs by name of file; None feeds zeros of each file's own shapes.
        threads: Within an operator.
        seconds: Time to spend on each, about; 10 to 200 runs.

    Raises:
        ConversionError: A file cannot be loaded or run.
        DeviceError: A file's input shapes are not known.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        plain, stamping, given = {}, {}, {}
        for number, (name, path) in enumerate(files.items()):
            place = folder / str(number)
            place.mkdir()
            plain[name] = stack.enter_context(OnnxRuntimeRunner(path, threads=threads))
            given[name] = feeds[name] if feeds else plain[name].sample()
            onnx_files.save(origins.tag_nodes(onnx_files.load(path)), place / "marked.onnx")
            stamping[name] = stack.enter_context(ProfilingRunner(place / "marked.onnx", place, threads=threads))
        times = _take_turns(plain, stamping, given, seconds)
        return {name: _read(stamping[name], path, times[name], plain[name].describe()) for name, path in files.items()}


@dataclass
class _Times:
    """Whole inferences of one file: milliseconds profiled and plain, and which of the profiled ones count."""

    profiled: list[float] = field(default_factory=list)
    plain: list[float] = field(default_factory=list)
    counted: list[bool] = field(default_factory=list)


def _take_turns(
    plain: Mapping[str, OnnxRuntimeRunner], stamping: Mapping[str, ProfilingRunner], feeds: Mapping[str, Feeds], seconds: float
) -> dict[str, _Times]:
    """Run in short slices, of which the first run is not counted: it pays for the caches that the others filled."""
    runs, slices = {}, {}
    for name, runner in plain.items():
        one = min(_timed(runner, feeds[name]) for _ in range(3))
        kernels = max(1, len(onnx.load(stamping[name].folder / GRAPH, load_external_data=False).graph.node))
        runs[name] = int(np.clip(500 * seconds / one, FEWEST, min(MOST, max(FEWEST, MAX_EVENTS / kernels))))
        slices[name] = int(np.clip(SLICE_MS / one, 1, runs[name]))
    found = {name: _Times() for name in plain}
    while unfinished := [name for name, times in found.items() if sum(times.counted) < runs[name]]:
        for name in unfinished:
            times = found[name]
            times.profiled += _slice(stamping[name], feeds[name], slices[name])
            times.counted += [False, *[True] * slices[name]]
            times.plain += _slice(plain[name], feeds[name], slices[name])[1:]
    return found


def _slice(runner: OnnxRuntimeRunner, feeds: Feeds, runs: int) -> list[float]:
    return [_timed(runner, feeds) for _ in range(runs + 1)]


def _timed(runner: OnnxRuntimeRunner, feeds: Feeds) -> float:
    start = time.perf_counter_ns()
    runner.run(feeds)
    return (time.perf_counter_ns() - start) / 1e6


def _read(runner: ProfilingRunner, path: Path, times: _Times, settings: Mapping[str, str]) -> LayerTimes:
    """Kernels from the events of the runs that count."""
    runs = list(compress(split_runs(runner.stamps()), times.counted))
    model = onnx_files.load(path)
    nodes = origins.node_origins(model)
    optimized = onnx.load(runner.folder / GRAPH, load_external_data=False)
    behind = origins.nodes_by_kernel(origins.tag_nodes(model), optimized)
    made = {node.name: node for node in optimized.graph.node}
    stamped = np.array([[run[place]["dur"] / 1000 for run in runs] for place in range(len(runs[0]))])
    plain_ms = np.array(times.plain)
    overhead_ms = profiler_overhead_ms(np.array([interquartile_mean(row) for row in stamped]), interquartile_mean(plain_ms))
    kernels = []
    for place, first in enumerate(runs[0]):
        name = kernel_name(first)
        node = made.get(name, onnx.NodeProto())
        kernels.append(
            TimedKernel(
                operator=first["args"].get("op_name", "?"),
                number=kernel_compute_type(first["args"]),
                nodes=tuple(nodes[number] for number in behind.get(name, ())),
                milliseconds=np.maximum(stamped[place] - overhead_ms, SHORTEST_MS) if overhead_ms else stamped[place],
                numbers=behind.get(name, ()),
                reads=tuple(node.input),
                gives=tuple(node.output),
            )
        )
    profiled_ms = np.array(list(compress(times.profiled, times.counted)))
    return LayerTimes(tuple(kernels), profiled_ms, plain_ms, settings, overhead_ms)


def profiler_overhead_ms(kernels_ms: Array, whole_ms: float) -> float:
    """Time to subtract from each kernel so that they sum to a whole inference; 0 where they do not exceed it.

    Args:
        kernels_ms: Profiled time of each kernel, (n,).
        whole_ms: An inference without the profiler.
    """
    if kernels_ms.sum() <= whole_ms:
        return 0.0
    largest = float(kernels_ms.max())

    def excess(overhead_ms: float) -> float:
        return float(np.maximum(kernels_ms - overhead_ms, SHORTEST_MS).sum()) - whole_ms

    return largest if excess(largest) > 0 else float(brentq(excess, 0.0, largest))


def kernel_compute_type(args: Mapping[str, Any]) -> str:
    """What a kernel computes with, by the types of its first input and output: `int8`, or `float → int8` where they differ."""

    def kind(key: str) -> str:
        shapes = args.get(key) or [{}]
        found = next(iter(shapes[0]), "?")
        return "int8" if found in ("int8", "uint8") else str(found)

    before, after = kind("input_type_shape"), kind("output_type_shape")
    return before if before == after else f"{before} → {after}"
