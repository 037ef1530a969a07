"""Settings of a measurement: threads, time, warm-up, runtime, processors."""

from __future__ import annotations

from dataclasses import dataclass

from compress.config.devices import Device
from compress.core.registry import lookup, names
from compress.profile.latency.interleave import TimingPlan


@dataclass(frozen=True)
class MeasurementSettings:
    """How to measure files on one device.

    Attributes:
        threads: Within an operator.
        seconds: Counted time of each file.
        warmup_seconds: Shortest warm-up of each.
        min_runs: Fewest counted runs of each.
        runtime: Runs the files, as in `Device.runtimes`.
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
        """How long to time each file."""
        return TimingPlan(self.seconds, self.warmup_seconds, self.min_runs)

    @classmethod
    def of(cls, device: Device, *, threads: int, seconds: float) -> MeasurementSettings:
        """Settings of a device's measurement protocol, with the caller's threads and time.

        Warm-up and number of runs shrink with the time.

        Args:
            device: With the protocol.
            threads: Within an operator.
            seconds: Counted time of each file.
        """
        contract = device.contract
        scale = min(1.0, seconds / contract.seconds)
        runs = max(6, round(contract.min_runs * scale))
        return cls(threads, seconds, contract.warmup_seconds * scale, runs, device.runtime, contract.affinity)


def sensor_targets(device: Device) -> list[str]:
    """`module:class` of the power sensors that a device's measurement protocol names, in order of preference."""
    return [lookup("power_sensor", name).target for name in device.contract.sensors]


def remote_sensor_targets(device: Device) -> list[str]:
    """The same; of every known sensor where the protocol names none."""
    return sensor_targets(device) or [lookup("power_sensor", name).target for name in names("power_sensor")]
