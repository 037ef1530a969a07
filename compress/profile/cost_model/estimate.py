"""Estimates of latency: kernel by kernel where the device was calibrated, else a roofline for each operator.

Calibrated, on this machine or one over SSH (`compress devices calibrate NAME`), the time of a kernel is made of what it does:

    t = Σ over kernels of  overhead + Σ price × count

with prices for each class of kernel, fitted on random networks (see `calibrate`), and the error seen on those left out. Which
kernels a device over SSH would run, its own runtime is asked.

Uncalibrated:

    t = Σ over operators of  max(operations ÷ (peak × efficiency), bytes ÷ (bandwidth × efficiency)) + overhead

Williams, Waterman & Patterson 2009, "Roofline: an insightful visual performance model for multicore architectures", CACM
52(4):65. Peaks and efficiencies are the profile's, each with its source; those of this machine are measured. Depthwise
convolutions are priced at the fp32 vector rate whatever their numbers: with one input channel in each sum, neither tensor cores
nor dot-product instructions apply. The error on a device that was never calibrated is not known; the profile states the factor
to expect.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from compress.config.devices import Device
from compress.config.devices.connection import Ssh
from compress.config.devices.profile_schema import Efficiency, Peaks, SourcedValue
from compress.core.errors import DeviceError
from compress.core.record import Quantity
from compress.profile.cost_model import calibration_file as calibration
from compress.profile.cost_model.calibration_file import Calibration, Rates
from compress.profile.cost_model.kernel_counts import CountedKernel, count_file_kernels
from compress.profile.cost_model.operator_work import Number, OperatorWork, bytes_of, operator_work
from compress.profile.cost_model.roofline_peaks import with_measured_peaks

T = TypeVar("T")
GIGA = 1e9
MILLI = 1e-3
NS_PER_MS = 1e6
ARITHMETIC = {"macs", "tiles", "im2col_elements", "partial_sums", "unaligned_macs"}
"""Counts of a kernel that are arithmetic; the others move data, but for the starts of `pieces`."""


@dataclass(frozen=True)
class Estimate:
    """Milliseconds for one sample, and what they are made of.

    Attributes:
        latency_ms: Of the whole network.
        operators: Time of each operator, or of each kernel where calibrated, ms, in graph order.
        bound_by: Milliseconds by what they go to: `arithmetic`, `bandwidth`, `overhead`.
        model: How it was made, in words, with its known error.
        band: What is expected of the truth, ms.
    """

    latency_ms: float
    operators: tuple[tuple[OperatorWork | CountedKernel, float], ...]
    bound_by: dict[str, float]
    model: str
    band: tuple[float, float]


def estimate(path: Path, device: Device) -> Estimate:
    """Latency of an ONNX file at batch 1: by the device's calibration where there is one that holds, else by a roofline.

    Raises:
        DeviceError: The profile lacks a figure that the estimate needs, or the graph's shapes are not known.
        ConversionError: Not an ONNX file.
    """
    found, reason = find_calibration(device)
    if found is not None and isinstance(device.connection, Ssh):
        from compress.profile.cost_model.remote_fit import remote_kernels

        try:
            return calibrated_estimate(found, remote_kernels(path, device, found))
        except DeviceError as error:
            reason = f"the calibration of {found.created} cannot be used: {error}"
    elif found is not None:
        return calibrated_estimate(found, count_file_kernels(path, threads=found.threads, caches=found.caches_bytes))
    if device.connection == "local" and device.efficiency is None:
        device = _measured_peaks(device)
    return roofline_estimate(operator_work(path), device, reason)


def latency(path: Path, device: Device) -> Quantity:
    """The estimate as a quantity with its error band."""
    found = estimate(path, device)
    return Quantity.estimated(found.latency_ms, "ms", found.model, band=found.band)


def find_calibration(device: Device) -> tuple[Calibration | None, str]:
    """The calibration of a device, which on this machine holds; or None, and why there is none.

    Whether that of a device over SSH holds, is told when the device is asked for its kernels.
    """
    if device.connection is None:
        return None, "not at hand, so that it cannot be calibrated"
    path = calibration.find_file(device.name, device.threads)
    if path is None:
        return None, f"never calibrated: `compress devices calibrate {device.name}` takes five minutes"
    try:
        found = calibration.load(path)
    except DeviceError as error:
        return None, str(error)
    if isinstance(device.connection, Ssh):
        return found, ""
    reason = calibration.mismatch_reason(found, calibration.this_processor(device.hardware), device.threads)
    return (None, f"the calibration of {found.created} does not hold: {reason}") if reason else (found, "")


def calibrated_estimate(found: Calibration, kernels: Iterable[CountedKernel]) -> Estimate:
    """Price every kernel that the runtime would run.

    Args:
        found: The calibration.
        kernels: Of one inference.

    Raises:
        DeviceError: The calibration knows nothing like one of them.
    """
    operators: list[tuple[OperatorWork | CountedKernel, float]] = []
    bound_by = {"arithmetic": 0.0, "bandwidth": 0.0, "overhead": 0.0}
    strange: set[str] = set()
    numbers = set()
    for kernel in kernels:
        parts = kernel_parts(kernel, found.rates)
        operators.append((kernel, sum(parts.values())))
        for name, time in parts.items():
            bound_by[name] += time
        if kernel.kind not in found.rates:
            strange.add(kernel.kind)
        numbers |= {kernel.pool.split()[1]} if kernel.pool.startswith("product") else set()
    accuracy = found.accuracy
    stood_in = f"; rates of similar kernels stand in for {', '.join(sorted(strange))}" if strange else ""
    kinds = " and ".join(sorted(numbers, reverse=True)) or "fp32"
    model = (
        f"calibrated {found.created} on {found.cpu}, {found.runtime}, {kinds}, batch 1, "
        f"{_threads(found.threads)}; mean error {accuracy.mean:.1%} on {accuracy.networks} random networks left out{stood_in}"
    )
    total = sum(time for _, time in operators)
    return Estimate(total, tuple(operators), bound_by, model, (total * accuracy.low, total * accuracy.high))


def kernel_parts(kernel: CountedKernel, rates: Mapping[str, Rates]) -> dict[str, float]:
    """Milliseconds of one kernel by what they go to; prices are those of its class, or of the pool that it belongs to.

    Raises:
        DeviceError: Neither is known.
    """
    found = rates.get(kernel.kind) or rates.get(kernel.pool)
    if found is None:
        msg = f"the calibration knows no kernel like {kernel.kind!r} ({kernel.name}); calibrate again with more time"
        raise DeviceError(msg)
    times = {name: found.prices_ns.get(name, 0.0) * count / NS_PER_MS for name, count in kernel.counts.items()}
    arithmetic = sum(time for name, time in times.items() if name in ARITHMETIC)
    overhead = times.pop("pieces", 0.0) + times.pop("rows", 0.0) + found.overhead_ns / NS_PER_MS
    return {"arithmetic": arithmetic, "bandwidth": sum(times.values()) - arithmetic, "overhead": overhead}


def _threads(count: int) -> str:
    return f"{count} thread{'s' * (count > 1)}"


MEASURED: dict[tuple[str, int], Device] = {}
"""Profiles of this machine with measured peaks, by title and threads: measured once a process."""


def _measured_peaks(device: Device) -> Device:
    key = device.title, device.threads
    if key not in MEASURED:
        MEASURED[key] = with_measured_peaks(device, threads=device.threads)
    return MEASURED[key]


def roofline_estimate(work: tuple[OperatorWork, ...], device: Device, reason: str = "") -> Estimate:
    """Price operators by a roofline.

    Args:
        work: Operators.
        device: With peaks and efficiencies.
        reason: Why there is no calibration.

    Raises:
        DeviceError: The profile lacks a figure.
    """
    efficiency = _needed(device.efficiency, device, "efficiency", reason)
    overhead = efficiency.overhead_us.value * MILLI
    operators: list[tuple[OperatorWork | CountedKernel, float]] = []
    bound_by = {"arithmetic": 0.0, "bandwidth": 0.0, "overhead": overhead * len(work)}
    for item in work:
        arithmetic = item.operations / _rate(item, device, efficiency) / MILLI
        moving = item.elements * bytes_of(item.number, device.precision.floats) / _bandwidth(device, efficiency) / MILLI
        bound_by["arithmetic" if arithmetic >= moving else "bandwidth"] += max(arithmetic, moving)
        operators.append((item, max(arithmetic, moving) + overhead))
    total, factor = sum(time for _, time in operators), efficiency.error_factor
    threads = f", {_threads(device.threads)}" if device.kind == "cpu" else ""
    model = (
        f"uncalibrated roofline for {device.title}, {compute_types(work, device)}, batch 1{threads}; "
        f"error not yet known on this device, band ×/÷ {factor:g}{f' ({reason})' * bool(reason)}"
    )
    return Estimate(total, tuple(operators), bound_by, model, (total / factor, total * factor))


def compute_types(work: tuple[OperatorWork, ...], device: Device) -> str:
    """What the convolutions and products compute with, in words."""
    kinds = {item.number for item in work if item.kind != "other"}
    floats = device.precision.floats
    return {frozenset({"int8"}): "int8", frozenset({"float"}): floats}.get(frozenset(kinds), f"int8 and {floats}")


def _rate(item: OperatorWork, device: Device, efficiency: Efficiency) -> float:
    """Operations a second that this operator's kernel is expected to reach."""
    workers = device.threads if device.kind == "cpu" else 1
    if item.kind == "dense":
        return _peak(item.number, device).value * efficiency.dense.value * workers * GIGA
    vector = _needed(device.peaks.fp32_gflops, device, "peaks.fp32_gflops")
    return vector.value * efficiency.depthwise.value * workers * GIGA


def _peak(number: Number, device: Device) -> SourcedValue:
    """Peak of the numbers computed with; int8 on a device without such a peak runs at the float rate."""
    peaks: Peaks = device.peaks
    floats = peaks.fp16_gflops if device.precision.floats == "fp16" else peaks.fp32_gflops
    wanted = (peaks.int8_gops or floats) if number == "int8" else floats
    return _needed(wanted, device, f"peaks.{device.precision.floats}_gflops")


def _bandwidth(device: Device, efficiency: Efficiency) -> float:
    share = efficiency.bandwidth.value if efficiency.bandwidth is not None else 1.0
    return _needed(device.peaks.memory_bandwidth_gb_s, device, "peaks.memory_bandwidth_gb_s").value * share * GIGA


def _needed(value: T | None, device: Device, key: str, reason: str = "") -> T:
    if value is None:
        why = f" ({reason})" if reason else ""
        msg = f"device {device.name!r} has no {key}, which an estimate needs; add it to its profile with unit and source{why}"
        raise DeviceError(msg)
    return value
