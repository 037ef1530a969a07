"""Run a network with the profiler of ONNX Runtime and read the time of every kernel."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Self, TypedDict

import numpy as np
import onnxruntime

from compress.backends.onnxruntime_runner import OnnxRuntimeRunner
from compress.backends.runner_protocol import Array
from compress.core.errors import ConversionError
from compress.core.language import gettext

GRAPH = "optimized.onnx"
TypedShapes = list[dict[str, list[int]]]
"""Shape of each tensor by its number type."""
CONTROL_FLOW = ("If", "Loop", "Scan")
WRITE_ERRORS = ("Failed to write", "No space left", "File too large", "Error writing", "save model")
"""Parts of the runtime's messages when it cannot write a file."""


class KernelArguments(TypedDict, total=False):
    """Arguments of a kernel event."""

    op_name: str
    input_type_shape: TypedShapes
    output_type_shape: TypedShapes


class Event(TypedDict, total=False):
    """Event of ONNX Runtime's profile; `dur` in µs."""

    cat: str
    name: str
    dur: float
    args: KernelArguments


class ProfilingRunner(OnnxRuntimeRunner):
    """Profiles every kernel and writes the optimized graph.

    A dynamic batch dimension is not fixed, because the runtime would then fuse other nodes.

    Args:
        path: ONNX file.
        folder: Folder for the optimized graph (`GRAPH`) and the profile.
        threads: Threads within an operator.
    """

    def __init__(self, path: Path, folder: Path, *, threads: int) -> None:
        super().__init__(path, threads=threads)
        self.folder = folder

    def __enter__(self) -> Self:
        """Load the network and write its optimized graph.

        Raises:
            ConversionError: The file cannot be loaded.
            OSError: The graph cannot be written.
        """
        try:
            return super().__enter__()
        except ConversionError as error:
            if not any(mark in str(error) for mark in WRITE_ERRORS):
                raise
            raise OSError(
                errno.ENOSPC, gettext("the runtime cannot write its graph, as on a full disk"), str(self.folder)
            ) from error

    def read_events(self) -> list[Event]:
        """End profiling and return all events.

        Raises:
            OSError: The runtime could not write all events.
        """
        path = Path(self._loaded().end_profiling())
        try:
            events: list[Event] = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise OSError(errno.ENOSPC, gettext("the runtime's profile is truncated, as on a full disk"), str(path)) from error
        path.unlink()
        return events

    def _options(self) -> onnxruntime.SessionOptions:
        options = super()._options()
        options.optimized_model_filepath = str(self.folder / GRAPH)
        options.enable_profiling = True
        options.profile_file_prefix = str(self.folder / "profile")
        return options


def split_runs(events: list[Event]) -> list[list[Event]]:
    """Kernel events of each complete run, in order; the event `model_run` ends a run."""
    runs: list[list[Event]] = [[]]
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time") and _computes(event):
            runs[-1].append(event)
        elif event.get("name") == "model_run":
            runs.append([])
    return runs[:-1]


def _computes(event: Event) -> bool:
    """Whether an event is of a kernel and not of an If, Loop or Scan, whose kernels have events of their own."""
    return event.get("args", {}).get("op_name") not in CONTROL_FLOW


def kernel_name(event: Event) -> str:
    """Name of the node of a kernel event."""
    return str(event["name"]).removesuffix("_kernel_time")


def interquartile_mean(samples: Array) -> float:
    """Mean of the middle half: robust, and with a finer resolution than a median of the profile's whole microseconds."""
    ordered = np.sort(samples)
    cut = len(ordered) // 4
    return float(ordered[cut : len(ordered) - cut].mean())
