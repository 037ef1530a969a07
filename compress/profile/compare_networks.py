"""Compare the latency of torch networks and ONNX files, for stages that change the structure of a network.

On this machine the networks run in turns in one session with ONNX Runtime, one thread and batch 1. For other devices the cost
model estimates the latency.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import nn

from compress.backends import onnx_files
from compress.backends.export_onnx import export_onnx
from compress.backends.runner_protocol import Feeds
from compress.config.devices import Device
from compress.core.network_spec import NetworkSpec
from compress.core.record import Quantity
from compress.core.signature import BATCH, Signature
from compress.models.count_macs import count_network
from compress.profile.cost_model import estimate as cost
from compress.profile.cost_model.executed_work import executed_work
from compress.profile.cost_model.operator_work import OperatorWork, operator_work
from compress.profile.latency import timing
from compress.profile.latency.interleave import TimingPlan
from compress.profile.latency.timing import Timing
from compress.profile.layers import kernel_to_node, layer_times
from compress.profile.layers.ort_profile import interquartile_mean

BASELINE = "before"
"""Name of the network that other networks are compared with."""
_SHORTEST_S = 0.05


@dataclass(frozen=True, eq=False)
class Comparison:
    """Two networks timed in turns.

    Attributes:
        before: The network before a change.
        after: The network after the change.
        work: Operators of the network after the change.
    """

    before: Timing
    after: Timing
    work: tuple[OperatorWork, ...]

    @property
    def ratio(self) -> float:
        """Median latency after the change ÷ median latency before."""
        return median_ms(self.after) / median_ms(self.before)

    @property
    def speedup(self) -> Quantity:
        """Latency before ÷ after, compared within rounds so that drift cancels, with its interval."""
        return timing.speedup(self.before, self.after)


class NetworkTimer:
    """Times networks against a baseline, which is exported once.

    Args:
        baseline: Network to compare with.
        spec: Input specification of all networks.
        seconds: Timing per network, without warm-up.
    """

    def __init__(self, baseline: nn.Module, spec: NetworkSpec, *, seconds: float) -> None:
        self.spec, self.seconds = spec, max(seconds, _SHORTEST_S)
        self.macs = count_network(baseline, spec).macs
        with exported({BASELINE: baseline}, spec) as files:
            self.exported = files[BASELINE].read_bytes()

    def time(
        self, networks: Mapping[str, nn.Module], *, seconds: float | None = None
    ) -> tuple[dict[str, Timing], dict[str, tuple[OperatorWork, ...]]]:
        """Time networks and the baseline in turns.

        Args:
            networks: Networks by name; they are not changed.
            seconds: Timing per network; by default that of the timer.

        Returns:
            Timings and operators by name; the baseline is `BASELINE`.
        """
        with exported(networks, self.spec) as files, self._baseline_file() as baseline:
            files = {BASELINE: baseline, **files}
            timings = measure_interleaved(files, self.spec.signature, seconds=seconds or self.seconds)
            feeds = feeds_of_free_axes(self.spec.signature)
            return timings, {name: _work(path, feeds) for name, path in files.items()}

    def compare(self, network: nn.Module, *, seconds: float | None = None) -> Comparison:
        """Time one network against the baseline."""
        timings, work = self.time({"after": network}, seconds=seconds)
        return Comparison(timings[BASELINE], timings["after"], work["after"])

    def estimated_baseline_ms(self, device: Device) -> float:
        """Latency of the baseline by the cost model, ms.

        Raises:
            DeviceError: The device profile lacks a value that the estimate needs.
        """
        with self._baseline_file() as path:
            return estimated_file_ms(path, device, feeds_of_free_axes(self.spec.signature))

    @contextmanager
    def _baseline_file(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "before.onnx"
            path.write_bytes(self.exported)
            yield path


def measure_interleaved(files: Mapping[str, Path], signature: Signature, *, seconds: float) -> dict[str, Timing]:
    """Time files in turns in one session: ONNX Runtime, one thread, batch 1, zeros as inputs.

    Raises:
        SignatureError: The size of a free axis is not known.
    """
    inputs = {name: values.numpy() for name, values in signature.example(seed=None).items()}
    return timing.measure(files, inputs, TimingPlan.of(seconds))


@contextmanager
def exported(networks: Mapping[str, nn.Module], spec: NetworkSpec) -> Iterator[dict[str, Path]]:
    """Float ONNX files of networks by name, deleted at the end of the block.

    Raises:
        ConversionError: A network cannot be exported.
    """
    with tempfile.TemporaryDirectory() as folder:
        files = {name: Path(folder) / f"{index}.onnx" for index, name in enumerate(networks)}
        for name, network in networks.items():
            export_onnx(network, spec, files[name])
        yield files


def estimated_ms(network: nn.Module, spec: NetworkSpec, device: Device) -> float:
    """Latency of a network by the cost model, ms.

    Raises:
        DeviceError: The device profile lacks a value that the estimate needs.
    """
    with exported({"network": network}, spec) as files:
        return estimated_file_ms(files["network"], device, feeds_of_free_axes(spec.signature))


def estimated_file_ms(path: Path, device: Device, feeds: Feeds | None = None) -> float:
    """Latency of an ONNX file by the cost model, ms.

    Args:
        path: The file.
        device: The device.
        feeds: Inputs of a run whose operators are counted, for a file with free axes; see `feeds_of_free_axes`.

    Raises:
        DeviceError: The device profile lacks a value that the estimate needs.
    """
    return cost.estimate(path, device, feeds).latency_ms


def feeds_of_free_axes(signature: Signature) -> Feeds | None:
    """Inputs with the typical sizes of free axes, in which the operators are counted; None where only the batch is free."""
    if not set(signature.free_axes) - {BATCH}:
        return None
    return {name: values.numpy() for name, values in signature.example(seed=None).items()}


def _work(path: Path, feeds: Feeds | None) -> tuple[OperatorWork, ...]:
    return operator_work(path) if feeds is None else executed_work(path, feeds).operators


def module_latency_ms(path: Path, device: Device, *, seconds: float, feeds: Feeds | None = None) -> dict[str, float]:
    """Latency of each torch module of a file at batch 1, ms, by name: profiled on this machine, estimated for other devices.

    Args:
        path: The file.
        device: The device.
        seconds: Duration of the measurement.
        feeds: Inputs of a file with free axes; see `feeds_of_free_axes`.

    Raises:
        ConversionError: The file cannot be loaded or run.
        DeviceError: The device profile lacks a value that the estimate needs, or input shapes are not known.
    """
    if device.connection == "local":
        inputs = None if feeds is None else {"network": feeds}
        kernels = layer_times.measure({"network": path}, inputs, threads=1, seconds=seconds)["network"].kernels
        times = [(kernel.module, interquartile_mean(kernel.milliseconds)) for kernel in kernels]
    else:
        modules = {node.name: node.module for node in kernel_to_node.node_origins(onnx_files.load(path)) if node.name}
        times = [(modules.get(work.name, ""), ms) for work, ms in cost.estimate(path, device, feeds).operators]
    total: dict[str, float] = {}
    for module, ms in times:
        total[module] = total.get(module, 0.0) + ms
    return total


def is_calibrated(device: Device) -> bool:
    """Whether the device has a valid calibration of its cost model."""
    return cost.find_calibration(device)[0] is not None


def median_ms(file_timing: Timing) -> float:
    """Median latency, ms."""
    return float(np.median(file_timing.milliseconds))
