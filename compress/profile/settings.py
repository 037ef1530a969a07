"""Settings of a measurement: threads, time, warm-up, runtime and processors."""

from __future__ import annotations

from dataclasses import dataclass

from compress.config.devices import Device
from compress.core.registry import lookup, names
from compress.profile.latency.interleave import TimingPlan


@dataclass(frozen=True)
class MeasurementSettings:
    """Settings to measure files on one device.

    Attributes:
        threads: Threads within an operator.
        seconds: Timing per file, without warm-up.
        warmup_seconds: Shortest warm-up per file.
        min_runs: Fewest counted runs per file.
        runtime: Name of the runtime, as in `Device.runtimes`.
        affinity: Processors that threads are pinned to; empty pins none.
    """

    threads: int
    seconds: float
    warmup_seconds: float
    min_runs: int
    runtime: str = "onnxruntime"
    affinity: tuple[int, ...] = ()

    @property
    def timing(self) -> TimingPlan:
        """Duration of the timing per file."""
        return TimingPlan(self.seconds, self.warmup_seconds, self.min_runs)

    @classmethod
    def of(cls, device: Device, *, threads: int, seconds: float) -> MeasurementSettings:
        """Settings of a device's measurement protocol, with other threads and time.

        With less time than the protocol has, warm-up and number of runs are reduced in proportion.

        Args:
            device: Profile with the protocol.
            threads: Threads within an operator.
            seconds: Timing per file, without warm-up.
        """
        contract = device.contract
        scale = min(1.0, seconds / contract.seconds)
        runs = max(6, round(contract.min_runs * scale))
        return cls(threads, seconds, contract.warmup_seconds * scale, runs, device.runtime, contract.affinity)


def sensor_targets(device: Device) -> list[str]:
    """`module:class` of the power sensors that a device's measurement protocol names, in order of preference."""
    return [lookup("power_sensor", name).target for name in device.contract.sensors]


def remote_sensor_targets(device: Device) -> list[str]:
    """The same for a device over SSH; all known sensors if the protocol names none."""
    return sensor_targets(device) or [lookup("power_sensor", name).target for name in names("power_sensor")]
