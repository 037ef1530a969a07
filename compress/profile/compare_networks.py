"""Torch networks timed in turns against the network that they were made from, in ONNX Runtime on this machine.

One thread, batch 1, all within one session. For stages that change a network's structure and want to know what it brings.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from compress.config.devices import Device
from compress.core.record import InputSpec
from compress.models.count_macs import count

if TYPE_CHECKING:
    from compress.profile.latency_meter import LatencyMeter, Timing, Work

BASELINE = "before"
"""Name of the network that the others are timed against."""
_SHORTEST = 0.05


@dataclass(frozen=True, eq=False)
class Comparison:
    """Two networks timed in turns.

    Attributes:
        before: The network that the other was made from.
        after: The other.
        work: Operators of the other.
    """

    before: Timing
    after: Timing
    work: tuple[Work, ...]

    @property
    def ratio(self) -> float:
        """Time of the other as a fraction of that before."""
        return median_ms(self.after) / median_ms(self.before)


class NetworkTimer:
    """Times networks against one.

    Args:
        clock: Exports and times.
        before: Exported once.
        spec: Its input.
        seconds: Counted time of each network.
    """

    def __init__(self, clock: LatencyMeter, before: nn.Module, spec: InputSpec, *, seconds: float) -> None:
        self.clock, self.spec, self.seconds = clock, spec, max(seconds, _SHORTEST)
        self.macs = count(before, spec).macs
        with tempfile.TemporaryDirectory() as folder:
            self.exported = clock.export(before, spec, Path(folder) / "before.onnx").read_bytes()

    def time(
        self, networks: Mapping[str, nn.Module], *, seconds: float | None = None
    ) -> tuple[dict[str, Timing], dict[str, tuple[Work, ...]]]:
        """Time networks by name and the one before, called `before`, all in turns; with their operators.

        Args:
            networks: Not changed.
            seconds: Counted time of each, where it is not the stopwatch's own.
        """
        with exported(self.clock, networks, self.spec) as made, tempfile.TemporaryDirectory() as folder:
            files = {BASELINE: Path(folder) / "before.onnx", **made}
            files[BASELINE].write_bytes(self.exported)
            timings = self.clock.race(files, self.spec.shape, seconds=seconds or self.seconds)
            return timings, {label: self.clock.work(path) for label, path in files.items()}

    def race(self, network: nn.Module, *, seconds: float | None = None) -> Comparison:
        """Time one network against the one before."""
        timings, work = self.time({"after": network}, seconds=seconds)
        return Comparison(timings[BASELINE], timings["after"], work["after"])

    def estimated_before_ms(self, device: Device) -> float:
        """Latency that the cost model gives the network before, ms.

        Raises:
            DeviceError: The device's profile lacks a figure that the estimate needs.
        """
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "before.onnx"
            path.write_bytes(self.exported)
            return self.clock.estimated_ms(path, device)


@contextmanager
def exported(clock: LatencyMeter, networks: Mapping[str, nn.Module], spec: InputSpec) -> Iterator[dict[str, Path]]:
    """Float ONNX files of networks by name, for as long as the block runs.

    Raises:
        ConversionError: One cannot be exported.
    """
    with tempfile.TemporaryDirectory() as folder:
        named = list(networks.items())
        yield {
            name: clock.export(network, spec, Path(folder) / f"{number}.onnx") for number, (name, network) in enumerate(named)
        }


def estimated_ms(clock: LatencyMeter, network: nn.Module, spec: InputSpec, device: Device) -> float:
    """Latency that the cost model gives a network, ms.

    Raises:
        DeviceError: The device's profile lacks a figure that the estimate needs.
    """
    with tempfile.TemporaryDirectory() as folder:
        return clock.estimated_ms(clock.export(network, spec, Path(folder) / "network.onnx"), device)


def median_ms(timing: Timing) -> float:
    """Median time of a run, ms."""
    return float(np.median(timing.milliseconds))
