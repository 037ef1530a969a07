"""Time of every kernel of a network, from ONNX Runtime's own profile."""

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

GRAPH = "optimized.onnx"
TypedShapes = list[dict[str, list[int]]]
"""Shape of each tensor by its number type."""
CONTROL_FLOW = ("If", "Loop", "Scan")
WRITE_ERRORS = ("Failed to write", "No space left", "File too large", "Error writing", "save model")
"""Messages of the runtime when it cannot write a file."""


class KernelArguments(TypedDict, total=False):
    """What the profile says of a kernel."""

    op_name: str
    input_type_shape: TypedShapes
    output_type_shape: TypedShapes


class Event(TypedDict, total=False):
    """One event of the profile, as ONNX Runtime writes it; `dur` in µs."""

    cat: str
    name: str
    dur: float
    args: KernelArguments


class ProfilingRunner(OnnxRuntimeRunner):
    """Profiles every kernel and writes the optimized graph.

    A dynamic batch dimension stays dynamic: the runtime fuses other nodes when it is fixed.

    Args:
        path: ONNX file.
        folder: Folder for the graph, `GRAPH`, and the profile.
        threads: Threads within an operator.
    """

    def __init__(self, path: Path, folder: Path, *, threads: int) -> None:
        super().__init__(path, threads=threads)
        self.folder = folder

    def __enter__(self) -> Self:
        """Load the network and write its optimized graph.

        Raises:
            OSError: The graph cannot be written.
        """
        try:
            return super().__enter__()
        except ConversionError as error:
            if not any(mark in str(error) for mark in WRITE_ERRORS):
                raise
            raise OSError(errno.ENOSPC, "the runtime cannot write its graph, as on a full disk", str(self.folder)) from error

    def read_events(self) -> list[Event]:
        """End the profile and read all its events.

        Raises:
            OSError: The runtime could not write them all.
        """
        path = Path(self._loaded().end_profiling())
        try:
            events: list[Event] = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise OSError(errno.ENOSPC, "the runtime's profile is cut short, as on a full disk", str(path)) from error
        path.unlink()
        return events

    def _options(self) -> onnxruntime.SessionOptions:
        options = super()._options()
        options.optimized_model_filepath = str(self.folder / GRAPH)
        options.enable_profiling = True
        options.profile_file_prefix = str(self.folder / "profile")
        return options


def split_runs(events: list[Event]) -> list[list[Event]]:
    """Kernel events of each complete run, in order; the runtime writes the event `model_run` at the end of a run."""
    runs: list[list[Event]] = [[]]
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time") and _computes(event):
            runs[-1].append(event)
        elif event.get("name") == "model_run":
            runs.append([])
    return runs[:-1]


def _computes(event: Event) -> bool:
    """Whether an event is that of a kernel itself; that of a branch or loop holds the kernels inside, which have their own."""
    return event.get("args", {}).get("op_name") not in CONTROL_FLOW


def kernel_name(event: Event) -> str:
    """Name of the node of a kernel event."""
    return str(event["name"]).removesuffix("_kernel_time")


def interquartile_mean(samples: Array) -> float:
    """Mean of the middle half: robust as a median, with a finer resolution than the profile's whole microseconds."""
    ordered = np.sort(samples)
    cut = len(ordered) // 4
    return float(ordered[cut : len(ordered) - cut].mean())
