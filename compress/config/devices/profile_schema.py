"""Schema of a device profile: the device, its figures with their sources, precision rules, and the measurement protocol."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from compress.config.devices.connection import Ssh
from compress.config.devices.detect_hardware import Hardware
from compress.core.errors import nearest
from compress.core.frozen_model import FrozenModel
from compress.core.record import Arrival
from compress.core.registry import entries
from compress.core.registry_field import RegistryName
from compress.models.saved_network import SHIPPED

Connection = Annotated[
    Annotated[Literal["local"], Tag("this machine")] | Annotated[Ssh, Tag("another machine")],
    Discriminator(lambda value: "another machine" if isinstance(value, dict | Ssh) else "this machine"),
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
    """One published or derived number.

    Attributes:
        value: Between 1e-9 and 1e18.
        unit: Its unit; for a peak it must be the unit that the peak is kept in.
        source: The document that says so, or the formula and the documents of its parts.
        url: Where that document is.
    """

    value: float = Field(ge=1e-9, le=1e18)
    unit: str
    source: str = Field(min_length=10)
    url: str | None = None


class Peaks(FrozenModel):
    """Upper limits of the hardware; dense arithmetic, one multiply-accumulate counted as two operations.

    On a CPU the rates are of one core, the one that a measurement would be pinned to; on a GPU of the whole device.

    Attributes:
        fp32_gflops: GFLOP/s.
        fp16_gflops: GFLOP/s, tensor cores included where the runtime uses them.
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
                msg = f"{name} is kept in {unit}, got {figure.unit!r}; convert the value and write unit: {unit}"
                raise ValueError(msg)
        return self


class Efficiency(FrozenModel):
    """What fraction of a peak real kernels reach, and what each of them costs besides: for estimates only.

    Attributes:
        dense: Convolutions and matrix products; fraction of the arithmetic peak, at most 1.
        depthwise: Depthwise convolutions and element-wise operators; fraction of the fp32 peak.
        bandwidth: Fraction of the memory bandwidth; None where nobody published one, then all of it.
        overhead_us: Microseconds for each operator that is started.
        error_factor: The truth is expected between the estimate ÷ this and × this.
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
            msg = f"a fraction in (0, 1] with unit: fraction is expected, got {figure.value} {figure.unit}"
            raise ValueError(msg)
        return figure


class Precision(FrozenModel):
    """The numbers that the runtime computes with on this device.

    Attributes:
        floats: What float operators run as.
        activations: Integer type of quantized activations.
        weights: Integer type of quantized weights.
        symmetric_activations: The zero point of activations must be 0 (TensorRT).
        per_channel_weights: One weight scale for each output channel.
        source: Who says so.
    """

    floats: Literal["fp32", "fp16"]
    activations: Literal["uint8", "int8"]
    weights: Literal["int8"] = "int8"
    symmetric_activations: bool
    per_channel_weights: bool = True
    source: str = Field(min_length=10)


class MeasurementProtocol(FrozenModel):
    """How a number must come to be before it may be called measured on this device.

    Attributes:
        batch: Samples in one run.
        warmup_seconds: Shortest warm-up; it goes on until the latency is steady.
        seconds: Time for each file after warm-up.
        min_runs: Fewest runs for each file.
        percentiles: Of latency, between 0.01 and 99.99.
        affinity: Processors to keep the measurement on, by number; none pins nothing.
        power_mode: Power mode and clocks to set before; None when there is nothing to set.
        sensors: Where power is read, in order of preference.
        arrival: How inputs arrive in the product: `back_to_back`, `periodic` as from a camera, or `cold`, after other work
            filled the caches. Latencies are measured for all three; the first of a report, and limits, are of this one.
        arrivals_per_s: Inputs per second where they are periodic.
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
    """One target.

    Attributes:
        name: As in a recipe, and the name of its file.
        title: The exact hardware, for people.
        kind: `cpu` or `gpu`.
        aliases: Short names.
        identifies_as: Parts of the names by which the hardware reports itself, such as `Raspberry Pi 5` of the device tree or
            `RTX 4090` of the driver. A measurement on hardware whose name contains none of them fails the limits of the budget.
        runtime: What runs the artifact there.
        runtime_release: Its release, such as `8.5`, where that is not a current one; decides how a script for it is written.
        runtimes: Others to try on this machine: `openvino`, `tensorrt`, or `onnxruntime:` and an execution provider such as
            `cuda`. The one that measures fastest, of those whose answers agree with `runtime`'s, is reported.
        connection: `local` when it is this machine, `{ssh: host}` when it is reached over SSH; None when it is not at hand, so
            that it can only be estimated.
        threads: Threads of a measurement or estimate.
        peaks: Limits of the hardware.
        efficiency: What of them is reached; None when no estimate is wanted.
        precision: Number formats of the runtime.
        contract: How to measure.
        hardware: What was detected; only for this machine.
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
        if name == SHIPPED.name:
            msg = f"{SHIPPED} holds the torch network of a run, so no device can be called {name}; choose another name"
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
                msg = f"{name!r} is no runtime: {hint}; after onnxruntime: any execution provider, such as qnn or coreml"
                raise ValueError(msg)
        return runtimes

    @model_validator(mode="after")
    def _require_what_an_estimate_needs(self) -> Self:
        needed = ("fp32_gflops", "memory_bandwidth_gb_s", "memory_bytes")
        missing = [f"peaks.{name}" for name in needed if getattr(self.peaks, name) is None]
        missing += ["efficiency"] if self.efficiency is None else []
        if self.connection is None and missing:
            msg = f"a device that is not at hand is estimated, which needs {', '.join(missing)}: each {{value, unit, source}}"
            raise ValueError(msg)
        return self
