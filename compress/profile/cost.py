"""First estimate of latency on a device that is not at hand: a roofline for each operator.

    t = Σ over operators of  max(operations ÷ (peak × efficiency), bytes ÷ (bandwidth × efficiency)) + overhead

Williams, Waterman & Patterson 2009, "Roofline: an insightful visual performance model for multicore architectures", CACM
52(4):65. Peaks and efficiencies are the profile's, each with its source. Depthwise convolutions are priced at the fp32 vector
rate whatever their numbers: with one input channel in each sum, neither tensor cores nor dot-product instructions apply.

The error on a device that was never calibrated is not known; the profile states the factor to expect.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from compress.devices import Device
from compress.devices.contract import Efficiency, Figure, Peaks
from compress.errors import DeviceError
from compress.profile.work import Number, Work, bytes_of, work_of
from compress.record import Quantity

T = TypeVar("T")
GIGA = 1e9
MILLI = 1e-3


@dataclass(frozen=True)
class Estimate:
    """Milliseconds for one sample, and what they are made of.

    Attributes:
        latency_ms: Of the whole network.
        operators: Time of each, ms, in graph order.
        bound_by: Milliseconds by what bounded them: `arithmetic`, `bandwidth`; and `overhead`.
    """

    latency_ms: float
    operators: tuple[tuple[Work, float], ...]
    bound_by: dict[str, float]


def estimate(path: Path, device: Device) -> Estimate:
    """Price every operator of an ONNX file at batch 1.

    Raises:
        DeviceError: The profile lacks a figure that the estimate needs, or the graph's shapes are not known.
        ConversionError: Not an ONNX file.
    """
    return price(work_of(path), device)


def price(work: tuple[Work, ...], device: Device) -> Estimate:
    """Price operators; see `estimate`."""
    efficiency = _needed(device.efficiency, device, "efficiency")
    overhead = efficiency.overhead_us.value * MILLI
    operators, bound_by = [], {"arithmetic": 0.0, "bandwidth": 0.0, "overhead": overhead * len(work)}
    for item in work:
        arithmetic = item.operations / _rate(item, device, efficiency) / MILLI
        moving = item.elements * bytes_of(item.number, device.precision.floats) / _bandwidth(device, efficiency) / MILLI
        bound_by["arithmetic" if arithmetic >= moving else "bandwidth"] += max(arithmetic, moving)
        operators.append((item, max(arithmetic, moving) + overhead))
    return Estimate(sum(time for _, time in operators), tuple(operators), bound_by)


def latency(path: Path, device: Device) -> Quantity:
    """The estimate as a quantity with its error band."""
    found = estimate(path, device)
    factor = _needed(device.efficiency, device, "efficiency").error_factor
    numbers = numbers_used(tuple(item for item, _ in found.operators), device)
    threads = f", {device.threads} thread{'s' * (device.threads > 1)}" if device.kind == "cpu" else ""
    model = (
        f"uncalibrated roofline for {device.title}, {numbers}, batch 1{threads}; "
        f"error not yet known on this device, band ×/÷ {factor:g}"
    )
    value = found.latency_ms
    return Quantity.estimated(value, "ms", model, band=(value / factor, value * factor))


def numbers_used(work: tuple[Work, ...], device: Device) -> str:
    """What the convolutions and products compute with, in words."""
    kinds = {item.number for item in work if item.kind != "other"}
    floats = device.precision.floats
    return {frozenset({"int8"}): "int8", frozenset({"float"}): floats}.get(frozenset(kinds), f"int8 and {floats}")


def _rate(item: Work, device: Device, efficiency: Efficiency) -> float:
    """Operations a second that this operator's kernel is expected to reach."""
    workers = device.threads if device.kind == "cpu" else 1
    if item.kind == "dense":
        return _peak(item.number, device).value * efficiency.dense.value * workers * GIGA
    vector = _needed(device.peaks.fp32_gflops, device, "peaks.fp32_gflops")
    return vector.value * efficiency.depthwise.value * workers * GIGA


def _peak(number: Number, device: Device) -> Figure:
    """Peak of the numbers computed with; int8 on a device without such a peak runs at the float rate."""
    peaks: Peaks = device.peaks
    floats = peaks.fp16_gflops if device.precision.floats == "fp16" else peaks.fp32_gflops
    wanted = (peaks.int8_gops or floats) if number == "int8" else floats
    return _needed(wanted, device, f"peaks.{device.precision.floats}_gflops")


def _bandwidth(device: Device, efficiency: Efficiency) -> float:
    share = efficiency.bandwidth.value if efficiency.bandwidth is not None else 1.0
    return _needed(device.peaks.memory_bandwidth_gb_s, device, "peaks.memory_bandwidth_gb_s").value * share * GIGA


def _needed(value: T | None, device: Device, key: str) -> T:
    if value is None:
        msg = f"device {device.name!r} has no {key}, which an estimate needs; add it to its profile with unit and source"
        raise DeviceError(msg)
    return value
