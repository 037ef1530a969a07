"""Estimate the latency at batch 1 as a sum over operators: a model fitted on this machine, else a roofline model.

With a calibration (`compress devices calibrate host`; see `fit`):

    t = Σ over operators of  overhead_ns + operation_ns × operations + element_ns × elements

Without:

    t = Σ over operators of their time by the roofline (see `roofline`)

Peaks and efficiencies come from the device profile, each with its source; those of this machine are measured. The error of the
roofline is not known; the profile assumes an error factor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from compress.backends.runner_protocol import Feeds
from compress.config.devices import Device
from compress.core.counted import threads_text
from compress.core.errors import DeviceError
from compress.core.language import gettext
from compress.core.record import Quantity
from compress.profile.cost_model import calibration_file
from compress.profile.cost_model.calibration_file import Calibration
from compress.profile.cost_model.executed_work import executed_work
from compress.profile.cost_model.operator_work import CONVOLUTIONS, OperatorWork, operator_work
from compress.profile.cost_model.roofline import operator_time, required
from compress.profile.cost_model.roofline_peaks import with_measured_peaks

MILLI_PER_NANO = 1e-6

PRODUCT_NETWORK = 0.5
"""Share of matrix products above which a network counts as one of them."""
PRODUCT_RATIOS = 1.2, 2.8
"""Measured latency ÷ estimate, lowest and highest of 16: BERT shapes 2×128 (fp32 and dynamic int8), 4×256 and 4×512 (fp32) at
16, 64, 128 and 512 tokens, ONNX Runtime 1.32, one thread of an AMD EPYC; processor time, 10th percentile, because other
processes ran. The geometric mean is 1.74; products of few rows reach less of the peak, so that 16 tokens have the highest."""
PRODUCT_ERROR_FACTOR = 3.0
"""Error factor of networks of matrix products, where that of the device is smaller."""


@dataclass(frozen=True)
class Estimate:
    """Estimated latency of one sample, and its parts.

    Attributes:
        latency_ms: Latency of the whole network.
        operators: Work and time (ms) of each operator, in graph order.
        bound_by: Milliseconds by bottleneck: `arithmetic`, `bandwidth`, `overhead`.
        model: Description of the method and its error, for the record.
        band: Range in which the true latency is expected, ms.
    """

    latency_ms: float
    operators: tuple[tuple[OperatorWork, float], ...]
    bound_by: dict[str, float]
    model: str
    band: tuple[float, float]


def estimate(path: Path, device: Device, feeds: Feeds | None = None) -> Estimate:
    """Estimate the latency of an ONNX file at batch 1: by the device's calibration if it has a valid one, else by a roofline.

    Args:
        path: ONNX file.
        device: Device profile. Peaks of this machine that the profile lacks are measured at each call; to estimate several
            networks, pass the result of `with_measured_peaks`.
        feeds: Inputs of a run whose operators are counted; None counts the operators from inferred shapes at batch 1.

    Raises:
        DeviceError: The profile lacks a value that the estimate needs, or the graph's shapes are not known.
        ConversionError: Not an ONNX file.
    """
    work = operator_work(path) if feeds is None else executed_work(path, feeds).operators
    calibration, reason = find_calibration(device)
    if calibration is not None:
        return calibrated_estimate(calibration, work)
    if device.connection == "local" and device.efficiency is None:
        device = with_measured_peaks(device, threads=device.threads)
    return roofline_estimate(work, device, reason)


def latency(path: Path, device: Device, feeds: Feeds | None = None) -> Quantity:
    """The estimate as a quantity with its error band."""
    result = estimate(path, device, feeds)
    return Quantity.estimated(result.latency_ms, "ms", result.model, band=result.band)


def find_calibration(device: Device) -> tuple[Calibration | None, str]:
    """The valid calibration of a device and an empty reason; or None and why there is none."""
    if device.connection != "local":
        return None, gettext("it cannot be calibrated, because it is not this machine")
    path = calibration_file.find_file(device.name, device.threads)
    if path is None:
        return None, gettext("not calibrated: `compress devices calibrate {name}` takes five minutes", name=device.name)
    try:
        calibration = calibration_file.load(path)
    except DeviceError as error:
        return None, str(error)
    processor = calibration_file.this_processor(device.hardware)
    reason = calibration_file.mismatch_reason(calibration, processor, device.threads)
    return (
        (None, gettext("the calibration of {created} is not valid: {reason}", created=calibration.created, reason=reason))
        if reason
        else (calibration, "")
    )


def operator_class(work: OperatorWork) -> str:
    """Class of operators that share coefficients: `dense`, `grouped`, `depthwise`, `product` or `other`; `float` or `int8`."""
    product = work.kind == "dense" and work.operator not in CONVOLUTIONS
    return f"{'product' if product else work.kind} {work.number}"


def calibrated_estimate(calibration: Calibration, work: Sequence[OperatorWork]) -> Estimate:
    """Estimate every operator with the coefficients of its class.

    Raises:
        DeviceError: No network of the calibration has an operator of that class.
    """
    operators: list[tuple[OperatorWork, float]] = []
    bound_by = {"arithmetic": 0.0, "bandwidth": 0.0, "overhead": 0.0}
    for item in work:
        rates = calibration.rates.get(operator_class(item))
        if rates is None:
            msg = gettext(
                "the calibration has no coefficients for {operator_class} operators ({name}); calibrate again",
                operator_class=operator_class(item),
                name=item.name,
            )
            raise DeviceError(msg)
        arithmetic, traffic = item.operations * rates.operation_ns, item.elements * rates.element_ns
        parts = {"arithmetic": arithmetic, "bandwidth": traffic, "overhead": rates.overhead_ns}
        for name, nanoseconds in parts.items():
            bound_by[name] += nanoseconds * MILLI_PER_NANO
        operators.append((item, sum(parts.values()) * MILLI_PER_NANO))
    accuracy, total = calibration.accuracy, sum(ms for _, ms in operators)
    kinds = " and ".join(sorted({"fp32" if item.number == "float" else item.number for item in work if item.kind != "other"}))
    model = gettext(
        "calibrated {created} on {cpu}, {runtime}, {kinds}, batch 1, "
        "{threads}; mean error {mean:.1%} in cross-validation over {networks} "
        "architectures"
        "{value}",
        created=calibration.created,
        cpu=calibration.cpu,
        runtime=calibration.runtime,
        kinds=kinds or "fp32",
        threads=threads_text(calibration.threads),
        mean=accuracy.mean,
        networks=accuracy.networks,
        value=f"; {calibration.load_warning}" * bool(calibration.load_warning),
    )
    return Estimate(total, tuple(operators), bound_by, model, (total * accuracy.low, total * accuracy.high))


def roofline_estimate(work: Sequence[OperatorWork], device: Device, reason: str = "") -> Estimate:
    """Estimate operators with a roofline model.

    Args:
        work: Work of each operator.
        device: Device profile.
        reason: Why there is no calibration; stands in the description of the method.

    Raises:
        DeviceError: The profile lacks a peak or an efficiency.
    """
    efficiency = required(device.efficiency, device, "efficiency", reason)
    operators: list[tuple[OperatorWork, float]] = []
    bound_by = {"arithmetic": 0.0, "bandwidth": 0.0, "overhead": 0.0}
    for item in work:
        time = operator_time(item, device, efficiency)
        bound_by[time.bound] += time.kernel_ms
        bound_by["overhead"] += time.overhead_ms
        operators.append((item, time.kernel_ms + time.overhead_ms))
    total, factor = sum(ms for _, ms in operators), efficiency.error_factor
    if of_products := product_share(work) > PRODUCT_NETWORK:
        factor = max(factor, PRODUCT_ERROR_FACTOR)
    threads = f", {threads_text(device.threads)}" if device.kind == "cpu" else ""
    model = gettext(
        "uncalibrated roofline for {title}, {compute_types}, batch 1{threads}; "
        "error on this device unknown{measured}, band ×/÷ {factor:g}{value}",
        title=device.title,
        compute_types=compute_types(work, device),
        threads=threads,
        measured=gettext(
            " (text encoders on an AMD EPYC took {least} to {most} times the estimate)",
            least=PRODUCT_RATIOS[0],
            most=PRODUCT_RATIOS[1],
        )
        * of_products,
        factor=factor,
        value=f" ({reason})" * bool(reason),
    )
    return Estimate(total, tuple(operators), bound_by, model, (total / factor, total * factor))


def product_share(work: Sequence[OperatorWork]) -> float:
    """Share of matrix products that are no convolutions in all operations, as in encoders of text; 0 without operations."""
    total = sum(item.operations for item in work)
    products = sum(item.operations for item in work if operator_class(item).startswith("product"))
    return products / total if total else 0.0


def compute_types(work: Sequence[OperatorWork], device: Device) -> str:
    """Number types of the convolutions and matrix products, such as `int8 and fp16`."""
    kinds = {item.number for item in work if item.kind != "other"}
    floats = device.precision.floats
    return {frozenset({"int8"}): "int8", frozenset({"float"}): floats}.get(frozenset(kinds), f"int8 and {floats}")
