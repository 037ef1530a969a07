"""Schema of a device profile: the device, its numbers with sources, number formats, and the measurement protocol."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from compress.config.devices.adb_connection import Adb
from compress.config.devices.connection import Ssh
from compress.config.devices.detect_hardware import Hardware
from compress.core.errors import nearest
from compress.core.frozen_model import FrozenModel
from compress.core.language import gettext
from compress.core.record import Arrival
from compress.core.registry import entries
from compress.core.registry_field import RegistryName
from compress.core.run_directory import SHIPPED_NETWORK


def _connection_kind(value: object) -> str:
    if isinstance(value, Adb) or (isinstance(value, dict) and "adb" in value):
        return "Android device"
    return "another machine" if isinstance(value, dict | Ssh) else "this machine"


Connection = Annotated[
    Annotated[Literal["local"], Tag("this machine")]
    | Annotated[Ssh, Tag("another machine")]
    | Annotated[Adb, Tag("Android device")],
    Discriminator(_connection_kind),
]

UNITS = {
    "fp32_gflops": "GFLOP/s",
    "fp16_gflops": "GFLOP/s",
    "int8_gops": "GOP/s",
    "memory_bandwidth_gb_s": "GB/s",
    "memory_bytes": "bytes",
    "tdp_w": "W",
}


class SourcedValue(FrozenModel):
    """A published or derived number.

    Attributes:
        value: Between 1e-9 and 1e18.
        unit: Its unit; for a peak it must be the unit of the field.
        source: The document, or the formula and the documents of its terms.
        url: Address of the document.
    """

    value: float = Field(ge=1e-9, le=1e18)
    unit: str
    source: str = Field(min_length=10)
    url: str | None = None


class Peaks(FrozenModel):
    """Peak rates of the hardware for dense arithmetic; a multiply-accumulate counts as two operations.

    For a CPU the rates are those of one core, for a GPU those of the whole device.

    Attributes:
        fp32_gflops: GFLOP/s.
        fp16_gflops: GFLOP/s, with tensor cores if the runtime uses them.
        int8_gops: GOP/s, without structured sparsity.
        memory_bandwidth_gb_s: GB/s of main memory.
        memory_bytes: Main memory, bytes.
        tdp_w: Power limit, W.
    """

    fp32_gflops: SourcedValue | None = None
    fp16_gflops: SourcedValue | None = None
    int8_gops: SourcedValue | None = None
    memory_bandwidth_gb_s: SourcedValue | None = None
    memory_bytes: SourcedValue | None = None
    tdp_w: SourcedValue | None = None

    @model_validator(mode="after")
    def _check_units(self) -> Self:
        for name, unit in UNITS.items():
            figure: SourcedValue | None = getattr(self, name)
            if figure is not None and figure.unit != unit:
                msg = gettext(
                    "{name} needs unit {unit}, got {figure_unit!r}; convert the value and write unit: {unit}",
                    name=name,
                    unit=unit,
                    figure_unit=figure.unit,
                )
                raise ValueError(msg)
        return self


class Efficiency(FrozenModel):
    """Fraction of the peaks that kernels reach, and their overhead; for estimates only.

    Attributes:
        dense: Convolutions and matrix products; fraction of the arithmetic peak, at most 1.
        depthwise: Depthwise convolutions and element-wise operators; fraction of the fp32 peak.
        bandwidth: Fraction of the memory bandwidth; None, if unpublished, is 1.
        overhead_us: Overhead of each operator, µs.
        error_factor: The true value is expected between estimate ÷ factor and estimate × factor.
    """

    dense: SourcedValue
    depthwise: SourcedValue
    bandwidth: SourcedValue | None = None
    overhead_us: SourcedValue
    error_factor: float = Field(gt=1.0, le=1000.0)

    @field_validator("dense", "depthwise", "bandwidth")
    @classmethod
    def _check_fraction(cls, figure: SourcedValue | None) -> SourcedValue | None:
        if figure is None:
            return None
        if figure.value > 1.0 or figure.unit != "fraction":
            msg = gettext(
                "a fraction in (0, 1] with unit: fraction is expected, got {value} {unit}", value=figure.value, unit=figure.unit
            )
            raise ValueError(msg)
        return figure


class Precision(FrozenModel):
    """Number formats of the runtime on this device.

    Attributes:
        floats: Format of float operators.
        activations: Integer type of quantized activations.
        weights: Integer type of quantized weights.
        symmetric_activations: Whether the zero point of activations must be 0 (TensorRT).
        per_channel_weights: Whether each output channel has its own weight scale.
        weight_bits: 7 for a CPU that adds pairs of uint8 × int8 products in 16 bits, which saturates: x86 without VNNI. None is
            8 bits, or 7 if this machine needs them, because the file is verified here.
        source: Source of this information.
    """

    floats: Literal["fp32", "fp16"]
    activations: Literal["uint8", "int8"]
    weights: Literal["int8"] = "int8"
    symmetric_activations: bool
    per_channel_weights: bool = True
    weight_bits: Literal[7, 8] | None = None
    source: str = Field(min_length=10)


class MeasurementProtocol(FrozenModel):
    """Conditions of a measurement on this device.

    Attributes:
        batch: Samples in a run.
        warmup_seconds: Minimum warm-up time; it continues until the latency is steady.
        seconds: Measuring time of each file after warm-up.
        min_runs: Minimum number of runs of each file.
        percentiles: Percentiles of the latency, between 0.01 and 99.99.
        affinity: Indices of the processors for the measurement; empty does not pin it.
        power_mode: Power mode and clocks to set before the measurement, or None.
        sensors: Power sensors, in order of preference.
        arrival: Arrival pattern of inputs in the product: `back_to_back`, `periodic` as from a camera, or `cold`, after other
            work filled the caches. Latencies are measured for all three; limits, and the first latency of a report, are of this
            one.
        arrivals_per_s: Inputs per second, for `periodic`.
    """

    batch: int = Field(default=1, ge=1, le=65536)
    warmup_seconds: float = Field(default=0.3, ge=0.0, le=3600.0)
    seconds: float = Field(default=2.0, gt=0.0, le=86400.0)
    min_runs: int = Field(default=30, ge=1, le=10_000_000)
    percentiles: tuple[Annotated[float, Field(ge=0.01, le=99.99)], ...] = (50.0, 90.0, 99.0)
    affinity: tuple[Annotated[int, Field(ge=0)], ...] = ()
    power_mode: str | None = None
    sensors: tuple[Annotated[str, RegistryName("power_sensor")], ...] = ()
    arrival: Arrival = "back_to_back"
    arrivals_per_s: float = Field(default=30.0, ge=0.5, le=10_000.0)


class Device(FrozenModel):
    """A target device.

    Attributes:
        name: Name in recipes, and of its file.
        title: Exact name of the hardware, for people.
        kind: `cpu` or `gpu`.
        aliases: Short names.
        identifies_as: Parts of the names by which the hardware reports itself, such as `Raspberry Pi 5` of the device tree or
            `RTX 4090` of the driver. A measurement on hardware whose name contains none of them fails the limits of the budget.
        runtime: Runtime of the artifact on the device.
        runtime_release: Its release, such as `8.5`, if it is not a current one; scripts for the device depend on it.
        runtimes: Further runtimes to compare on this machine: `openvino`, `tensorrt`, or `onnxruntime:` and an execution
            provider such as `cuda`. The fastest runtime whose outputs agree with those of `runtime` is reported.
        connection: `local` for this machine, `{ssh: host}` for a device over SSH, `{adb: serial}` for an Android device; None
            for a device that is not available, so that it can only be estimated.
        threads: Threads of a measurement or estimate.
        peaks: Peak rates of the hardware.
        efficiency: Fractions of the peaks that kernels reach; None without estimates.
        precision: Number formats of the runtime.
        contract: Conditions of a measurement.
        hardware: Detected properties; only for this machine.
    """

    name: str = Field(pattern=r"^[a-z0-9_]+$")
    title: str = Field(min_length=1)
    kind: Literal["cpu", "gpu"]
    aliases: tuple[str, ...] = ()
    identifies_as: tuple[Annotated[str, Field(min_length=2)], ...] = ()
    runtime: Annotated[str, RegistryName("runner", option="own_profile")]
    runtime_release: str | None = Field(default=None, pattern=r"^[0-9]{1,3}[.][0-9]{1,3}([.][0-9]{1,3})*$")
    runtimes: tuple[str, ...] = ()
    connection: Connection | None = None
    threads: int = Field(default=1, ge=1, le=1024)
    peaks: Peaks = Peaks()
    efficiency: Efficiency | None = None
    precision: Precision
    contract: MeasurementProtocol = MeasurementProtocol()
    hardware: Hardware | None = None

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        if name == SHIPPED_NETWORK.name:
            msg = gettext(
                "{shipped_network} holds the torch network of a run, so no device can be called {name}; choose another name",
                shipped_network=SHIPPED_NETWORK,
                name=name,
            )
            raise ValueError(msg)
        return name

    @field_validator("runtimes")
    @classmethod
    def _check_runtimes(cls, runtimes: tuple[str, ...]) -> tuple[str, ...]:
        for name in runtimes:
            family, colon, provider = name.partition(":")
            rows = {row.name: row.options for row in entries("runner") if "format" in row.options}
            with_provider = not colon or (rows.get(family, {}).get("providers") and re.fullmatch("[a-z]+", provider))
            if family not in rows or not with_provider:
                hint = nearest(name, [f"{row}:cuda" if options.get("providers") else row for row, options in rows.items()])
                msg = gettext(
                    "{name!r} is not a runtime: {hint}; an execution provider, such as qnn or coreml, may follow onnxruntime:",
                    name=name,
                    hint=hint,
                )
                raise ValueError(msg)
        return runtimes

    @model_validator(mode="after")
    def _require_what_an_estimate_needs(self) -> Self:
        needed = ("fp32_gflops", "memory_bandwidth_gb_s", "memory_bytes")
        missing = [f"peaks.{name}" for name in needed if getattr(self.peaks, name) is None]
        missing += ["efficiency"] if self.efficiency is None else []
        if self.connection is None and missing:
            msg = gettext(
                "a device without a connection is estimated, which needs {missing}: each {{value, unit, source}}",
                missing=", ".join(missing),
            )
            raise ValueError(msg)
        return self
