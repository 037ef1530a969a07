"""Time of every kernel of a network, from ONNX Runtime's own profile."""

from __future__ import annotations

import errno
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np

from compress.backends.onnxruntime_runner import OnnxRuntimeRunner
from compress.backends.runner_protocol import Array
from compress.core.errors import ConversionError

GRAPH = "optimized.onnx"
UNWRITTEN = ("Failed to write", "No space left", "File too large", "Error writing", "save model")
"""Messages of the runtime when it cannot write a file."""


class ProfilingRunner(OnnxRuntimeRunner):
    """Profiles every kernel, and writes the optimized graph.

    A free batch stays free: the runtime fuses differently when it is fixed.

    Args:
        path: ONNX file.
        folder: Of the graph, `GRAPH`, and of the profile.
        threads: Within an operator.
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
            if not any(mark in str(error) for mark in UNWRITTEN):
                raise
            raise OSError(errno.ENOSPC, "the runtime cannot write its graph, as on a full disk", str(self.folder)) from error

    def stamps(self) -> list[dict[str, Any]]:
        """End the profile; all its events.

        Raises:
            OSError: The runtime could not write them all.
        """
        path = Path(self._session.end_profiling())
        try:
            events: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise OSError(errno.ENOSPC, "the runtime's profile is cut short, as on a full disk", str(path)) from error
        path.unlink()
        return events

    def _options(self) -> Any:
        options = super()._options()
        options.optimized_model_filepath = str(self.folder / GRAPH)
        options.enable_profiling = True
        options.profile_file_prefix = str(self.folder / "profile")
        return options


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
    """Name of the node of a kernel event."""
    return str(event["name"]).removesuffix("_kernel_time")


def interquartile_mean(samples: Array) -> float:
    """Mean of the middle half: as steady as a median, and finer than the whole microseconds that it is made of."""
    ordered = np.sort(samples)
    cut = len(ordered) // 4
    return float(ordered[cut : len(ordered) - cut].mean())
