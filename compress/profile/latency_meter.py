"""What time networks take: measured on this machine, priced for others. Stages reach it as `Context.clock`.

Families do not import each other, and pruning and quantizing ask for times, too: so exporting, timing and the cost model are
handed to them here, where both are known. What they need of the profile family beside times is named here as well, so that the
one place where families meet is this file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from torch import nn

from compress.backends import onnx_graph as graphs
from compress.backends.export_onnx import export_onnx
from compress.backends.onnxruntime import PROVIDERS
from compress.backends.open import open_runner
from compress.backends.runner import Array, Feeds, FileRunner
from compress.config.devices import Device
from compress.core.progress import Reporter
from compress.core.record import InputSpec, Quantity
from compress.profile.cost_model import estimate as cost
from compress.profile.cost_model.operator_work import Work, work_of
from compress.profile.latency import timing
from compress.profile.latency.timing import Timing
from compress.profile.layers import kernel_to_node as origins
from compress.profile.layers import layer_times as layers
from compress.profile.layers.layer_times import CONVERTING, OWN, Kernel, Layers
from compress.profile.layers.ort_profile import middle_mean
from compress.profile.layers.tables import Rows, detail_of, duration, written

__all__ = [
    "CONVERTING",
    "OWN",
    "PROVIDERS",
    "Array",
    "Feeds",
    "FileRunner",
    "Kernel",
    "LatencyMeter",
    "Layers",
    "Rows",
    "Timing",
    "Work",
    "detail_of",
    "duration",
    "layers",
    "middle_mean",
    "written",
]


class LatencyMeter:
    """Files in, milliseconds out; without a state of its own."""

    def export(self, network: nn.Module, spec: InputSpec, path: Path) -> Path:
        """Write a network as the file that is timed.

        Raises:
            ConversionError: No exporter takes it.
        """
        export_onnx(network, spec, path)
        return path

    def race(self, files: Mapping[str, Path], shape: tuple[int, ...], *, seconds: float) -> dict[str, Timing]:
        """Time files in turns within one session: ONNX Runtime, one thread, batch 1, zeros of `shape` (C, H, W)."""
        return timing.measure(files, np.zeros((1, *shape), np.float32), seconds=seconds, warmup_seconds=seconds / 5)

    def opened(self, runtime: str, path: Path, *, threads: int) -> FileRunner:
        """A runner of a file in a runtime that a device profile names, not loaded yet.

        Raises:
            CompressError: No such runtime.
        """
        return open_runner(runtime, path, threads=threads)

    def turns(
        self,
        runners: Mapping[str, FileRunner],
        feeds: Mapping[str, Feeds],
        *,
        batch: int,
        seconds: float,
        reporter: Reporter | None = None,
    ) -> dict[str, Timing]:
        """Time loaded files in turns, each on its own inputs."""
        return timing.time_runners(
            runners, feeds, batch=batch, seconds=seconds, warmup_seconds=seconds / 5, min_runs=10, reporter=reporter
        )

    def speedup(self, slow: Timing, fast: Timing) -> Quantity:
        """How many times faster `fast` is: drift cancelled by comparing within rounds, with an interval."""
        return timing.speedup(slow, fast)

    def work(self, path: Path) -> tuple[Work, ...]:
        """Operators that would be run for one sample."""
        return work_of(path)

    def calibrated(self, device: Device) -> bool:
        """Whether a calibration of a device's cost model holds."""
        return cost.calibration_of(device)[0] is not None

    def estimated_ms(self, path: Path, device: Device) -> float:
        """Latency that the cost model gives a file, ms.

        Raises:
            DeviceError: The device's profile lacks a figure that the estimate needs.
        """
        return cost.estimate(path, device).latency_ms

    def modules_ms(self, path: Path, device: Device, *, seconds: float) -> dict[str, float]:
        """Time of each torch module at batch 1, ms, by name: by the runtime's own profile on this machine, else estimated.

        Raises:
            DeviceError: Neither can be done.
        """
        return _measured(path, seconds) if device.connection == "local" else _estimated(path, device)


def _measured(path: Path, seconds: float) -> dict[str, float]:
    found: dict[str, float] = {}
    for kernel in layers.measure({"network": path}, threads=1, seconds=seconds)["network"].kernels:
        found[kernel.module] = found.get(kernel.module, 0.0) + middle_mean(kernel.milliseconds)
    return found


def _estimated(path: Path, device: Device) -> dict[str, float]:
    home = {node.name: node.module for node in origins.origins_of(graphs.load(path)) if node.name}
    found: dict[str, float] = {}
    for work, ms in cost.estimate(path, device).operators:
        module = home.get(work.name, "")
        found[module] = found.get(module, 0.0) + ms
    return found
