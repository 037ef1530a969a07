"""Time of every kernel of one network by ONNX Runtime's own stamps. Light: it also runs on a device over SSH."""

from __future__ import annotations

import errno
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from compress.backends.onnxruntime_runner import OnnxRuntimeRunner
from compress.backends.runner_protocol import Array, Feeds
from compress.core.errors import ConversionError

GRAPH, WEIGHTS = "optimized.onnx", "optimized.bin"
UNWRITTEN = ("Failed to write", "No space left", "File too large", "Error writing", "save model")
"""What the runtime says when it cannot."""
LEAST_APART = 1024
"""Bytes from which a weight goes into the file of weights."""
SLICES, SLICE_MS = 3, 15.0
"""Of each network: turns, and the length of one."""
FEWEST, MOST = 2, 20
"""Runs in a turn."""
SHORTEST_NS = 50.0
"""Least time of a kernel."""


class GraphDumpRunner(OnnxRuntimeRunner):
    """Writes down the graph that is run. A free batch stays free: the runtime fuses otherwise when it knows that it is 1.

    Args:
        path: ONNX file.
        folder: Where to, as `GRAPH`.
        threads: Within an operator.
        apart: Put weights into a file of their own, so that the graph is short.
    """

    def __init__(self, path: Path, folder: Path, *, threads: int, apart: bool = False) -> None:
        super().__init__(path, threads=threads)
        self.folder = folder
        self.apart = apart

    def __enter__(self) -> Self:
        """Load, and write.

        Raises:
            OSError: The graph cannot be written.
        """
        try:
            return super().__enter__()
        except ConversionError as error:
            if not any(mark in str(error) for mark in UNWRITTEN):
                raise
            raise OSError(errno.ENOSPC, "the runtime cannot write its graph, as on a full disk", str(self.folder)) from error

    def _options(self) -> Any:
        options = super()._options()
        options.optimized_model_filepath = str(self.folder / GRAPH)
        if self.apart:
            prefix = "session.optimized_model_external_initializers"
            options.add_session_config_entry(f"{prefix}_file_name", WEIGHTS)
            options.add_session_config_entry(f"{prefix}_min_size_in_bytes", str(LEAST_APART))
        return options


class ProfilingRunner(GraphDumpRunner):
    """Stamps every kernel while it runs, too."""

    def stamps(self) -> list[dict[str, Any]]:
        """End stamping; all events.

        Raises:
            OSError: The runtime could not write them all.
        """
        path = Path(self._session.end_profiling())
        try:
            found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise OSError(errno.ENOSPC, "the runtime's profile is cut short, as on a full disk", str(path)) from error
        path.unlink()
        return found

    def _options(self) -> Any:
        options = super()._options()
        options.enable_profiling = True
        options.profile_file_prefix = str(self.folder / "profile")
        return options


@dataclass(frozen=True, eq=False)
class KernelLatencies:
    """One network as it ran.

    Attributes:
        names: Of its kernels, in the order of running.
        nanoseconds: Of each, without what stamping adds, (n,).
        total_ns: Of a whole inference that was not stamped.
    """

    names: tuple[str, ...]
    nanoseconds: Array
    total_ns: float


def profile_kernels(path: Path, folder: Path, *, threads: int, apart: bool = False) -> KernelLatencies:
    """Run one network in turns with and without stamps; its optimized graph is left in the folder.

    What stamping adds to a kernel, and what lies between two kernels, is told by the difference of the two and spread evenly.

    Args:
        path: ONNX file, of which only the batch may be free.
        folder: For the graph.
        threads: Within an operator.
        apart: As for `GraphDumpRunner`.

    Raises:
        CompressError: The runtime does not take it.
        OSError: The disk is full.
    """
    plain, marks = [], []
    with (
        OnnxRuntimeRunner(path, threads=threads) as runner,
        ProfilingRunner(path, folder, threads=threads, apart=apart) as stamping,
    ):
        draw = np.random.default_rng(0)
        feeds = {name: draw.normal(size=value.shape).astype(np.float32) for name, value in runner.sample().items()}
        once = min(_clocked(runner, feeds), _clocked(runner, feeds), _clocked(stamping, feeds))
        runs = max(FEWEST, min(MOST, round(SLICE_MS / once)))
        marks.append(False)
        for _ in range(SLICES):
            plain += [_clocked(runner, feeds) for _ in range(runs + 1)][1:]
            for _ in range(runs + 1):
                stamping.run(feeds)
            marks += [False, *[True] * runs]
        events = [run for run, counted in zip(split_runs(stamping.stamps()), marks, strict=True) if counted]
    names = tuple(kernel_name(event) for event in events[0])
    stamped = np.array(
        [interquartile_mean(np.array([run[place]["dur"] * 1e3 for run in events])) for place in range(len(names))]
    )
    total = interquartile_mean(np.array(plain)) * 1e6
    return KernelLatencies(names, np.maximum(stamped - (stamped.sum() - total) / len(names), SHORTEST_NS), total)


def _clocked(runner: OnnxRuntimeRunner, feeds: Feeds) -> float:
    start = time.perf_counter_ns()
    runner.run(feeds)
    return (time.perf_counter_ns() - start) / 1e6


def split_runs(events: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Kernel events of each run, in order; the runtime writes `model_run` when a run is over."""
    runs: list[list[dict[str, Any]]] = [[]]
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            runs[-1].append(event)
        elif event.get("name") == "model_run":
            runs.append([])
    return runs[:-1]


def kernel_name(event: Mapping[str, Any]) -> str:
    """Name of the node that an event stamps."""
    return str(event["name"]).removesuffix("_kernel_time")


def interquartile_mean(samples: Array) -> float:
    """Mean of the middle half: as steady as a median, and finer than the whole microseconds that it is made of."""
    ordered = np.sort(samples)
    cut = len(ordered) // 4
    return float(ordered[cut : len(ordered) - cut].mean())
