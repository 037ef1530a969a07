"""Time of an operator by the roofline model.

    t = max(operations ÷ (peak × efficiency), bytes ÷ (bandwidth × efficiency)) + overhead

Williams, Waterman & Patterson 2009, "Roofline: an insightful visual performance model for multicore architectures", CACM
52(4):65. Depthwise convolutions run at the fp32 vector rate in any precision: with one input channel per sum, neither tensor
cores nor dot-product instructions apply.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeVar

from compress.config.devices import Device
from compress.config.devices.profile_schema import Efficiency, SourcedValue
from compress.core.errors import DeviceError
from compress.core.language import gettext
from compress.profile.cost_model.operator_work import Number, OperatorWork, bytes_of

T = TypeVar("T")
GIGA = 1e9
MILLI = 1e-3


class OperatorTime(NamedTuple):
    """Time of one operator.

    Attributes:
        kernel_ms: Time of the arithmetic or of the memory traffic, whichever is longer.
        bound: The longer of the two.
        overhead_ms: Time to start the operator.
    """

    kernel_ms: float
    bound: Literal["arithmetic", "bandwidth"]
    overhead_ms: float


def operator_time(item: OperatorWork, device: Device, efficiency: Efficiency) -> OperatorTime:
    """Time of an operator on a device.

    Raises:
        DeviceError: The profile lacks a peak.
    """
    arithmetic = item.operations / _rate(item, device, efficiency) / MILLI
    traffic = item.elements * bytes_of(item.number, device.precision.floats) / _bandwidth(device, efficiency) / MILLI
    overhead = efficiency.overhead_us.value * MILLI
    return OperatorTime(max(arithmetic, traffic), "arithmetic" if arithmetic >= traffic else "bandwidth", overhead)


def _rate(item: OperatorWork, device: Device, efficiency: Efficiency) -> float:
    """Expected operations per second of an operator's kernel."""
    workers = device.threads if device.kind == "cpu" else 1
    if item.kind in ("dense", "grouped"):
        return _peak(item.number, device).value * efficiency.dense.value * workers * GIGA
    vector = required(device.peaks.fp32_gflops, device, "peaks.fp32_gflops")
    return vector.value * efficiency.depthwise.value * workers * GIGA


def _peak(number: Number, device: Device) -> SourcedValue:
    """Peak rate of a number type; without an int8 peak, int8 runs at the float rate."""
    peaks = device.peaks
    floats = peaks.fp16_gflops if device.precision.floats == "fp16" else peaks.fp32_gflops
    return required(
        (peaks.int8_gops or floats) if number == "int8" else floats, device, f"peaks.{device.precision.floats}_gflops"
    )


def _bandwidth(device: Device, efficiency: Efficiency) -> float:
    share = efficiency.bandwidth.value if efficiency.bandwidth is not None else 1.0
    return required(device.peaks.memory_bandwidth_gb_s, device, "peaks.memory_bandwidth_gb_s").value * share * GIGA


def required(value: T | None, device: Device, key: str, reason: str = "") -> T:
    """Check that a value of the device profile is present.

    Args:
        value: The value, or None.
        device: Device profile.
        key: Key of the value in the profile.
        reason: Why there is no calibration.

    Raises:
        DeviceError: The profile lacks the value.
    """
    if value is None:
        why = f" ({reason})" if reason else ""
        msg = gettext(
            "device {name!r} has no {key}, which the estimate needs; add it to its profile with unit and source{why}",
            name=device.name,
            key=key,
            why=why,
        )
        raise DeviceError(msg)
    return value
