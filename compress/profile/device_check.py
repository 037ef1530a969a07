"""What of a device profile and its measurement contract can be met from here: one line each, for `compress devices check`."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from importlib import metadata
from typing import TYPE_CHECKING

from compress.config.devices import Device
from compress.config.devices.connection import Ssh
from compress.config.devices.hardware_identity import ReportedHardware, contradicts_profile
from compress.config.devices.profile_schema import UNITS
from compress.core.errors import DeviceError
from compress.core.frozen_model import FrozenModel
from compress.core.statistics import runs_needed
from compress.profile.cost_model import calibration_file
from compress.profile.settings import sensor_targets

if TYPE_CHECKING:
    from compress.profile.remote.messages import InspectionReport, InspectOrder


class Line(FrozenModel):
    """One thing that was checked.

    Attributes:
        what: Such as `power sensor`.
        met: True, False, or None for something that is told and cannot fail.
        said: What was found, and what to do where it is not met.
    """

    what: str
    met: bool | None
    said: str


def check_device(device: Device) -> tuple[Line, ...]:
    """Check a device: reach, runtime, sensors, clocks, contract, figures, calibration.

    Nothing is measured and nothing changed. A device over SSH is asked through one connection.
    """
    if device.connection is None:
        reach = [
            Line(what="reach", met=None, said="not at hand: estimated; to measure, give the profile `connection: {ssh: HOST}`"),
            Line(what="runtime", met=None, said=f"{device.runtime}, assumed"),
        ]
    elif isinstance(device.connection, Ssh):
        reach = _over_ssh(device)
    else:
        reach = [*_here(device)]
    return (*reach, *_contract(device), *_figures(device), _calibration(device))


def _here(device: Device) -> Iterator[Line]:
    from compress.profile import power
    from compress.profile.remote.agent_sensors import clocks

    machine = device.hardware
    sets = ", ".join(machine.instruction_sets) if machine else ""
    yield Line(
        what="reach", met=True, said=f"this machine: {machine.cpu}, {machine.processors} processors, {sets}" if machine else ""
    )
    yield _runtime(device.runtime)
    for name in dict.fromkeys(device.runtimes):
        line = _runtime(name) if ":" not in name else _provider(name)
        yield Line(what="also tried", met=line.met, said=line.said)
    yield _clocks(clocks(), virtual=bool(machine and machine.virtual))
    sensor, reason = power.first_available(power.open_sensors(sensor_targets(device)))
    if sensor is None:
        yield Line(what="power sensor", met=False, said=reason or "the contract names none; power is not measured")
    else:
        yield Line(what="power sensor", met=True, said=f"{sensor.name}, {sensor.measures()}")
        sensor.stop()


def _runtime(runtime: str) -> Line:
    try:
        version = metadata.version(runtime)
    except metadata.PackageNotFoundError:
        found = shutil.which("trtexec") if runtime == "tensorrt" else None
        said = f"trtexec at {found}" if found else f"{runtime} is not installed here: pip install {runtime}"
        return Line(what="runtime", met=found is not None, said=said)
    return Line(what="runtime", met=True, said=f"{runtime} {version}")


def _provider(runtime: str) -> Line:
    """Whether the installed ONNX Runtime has an execution provider; `onnxruntime:cuda` and its like."""
    from compress.backends.onnxruntime_runner import provider_name

    try:
        return Line(what="runtime", met=True, said=f"{runtime}: {provider_name(runtime.partition(':')[2])}")
    except DeviceError as error:
        return Line(what="runtime", met=False, said=f"{runtime}: {error}")


def _clocks(found: dict[str, str], *, virtual: bool) -> Line:
    said = ", ".join(f"{name} {value}" for name, value in found.items())
    where = "a virtual machine; " if virtual else ""
    if "governor" not in found:
        return Line(what="clocks", met=False, said=f"{where}{said or 'nothing'} readable; clocks cannot be read or locked")
    locked = found["governor"] == "performance"
    advice = "" if locked else "; not locked: set the governor to performance before measuring"
    return Line(what="clocks", met=locked, said=f"{where}{said}{advice}")


def _over_ssh(device: Device) -> list[Line]:
    from compress.profile.remote.session import RemoteSession

    where = device.connection
    assert isinstance(where, Ssh)  # noqa: S101  callers look first
    order: InspectOrder = {"job": "inspect", "trtexec": where.trtexec, "sensors": sensor_targets(device)}
    try:
        with RemoteSession(device) as remote:
            found, facts = remote.work(order), remote.facts
    except DeviceError as error:
        return [Line(what="reach", met=False, said=str(error))]
    hardware = ReportedHardware(facts["cpu"], facts["architecture"])
    other = [
        Line(what="hardware", met=False, said=f"the profile describes {device.title}, and {hardware} answers: limits will fail")
    ]
    return [
        Line(what="reach", met=True, said=f"{where.ssh}: {hardware}, {facts['system']}"),
        *(other if contradicts_profile(device, hardware) else ()),
        _remote_runtime(device.runtime, found),
        _clocks(found["clocks"], virtual=False),
        Line(
            what="power sensor",
            met=bool(found["power"]),
            said=found["power"] or found["no_power"] or "the contract names none; power is not measured",
        ),
    ]


def _remote_runtime(runtime: str, found: InspectionReport) -> Line:
    version = found.get("tensorrt") if runtime == "tensorrt" else found.get("onnxruntime")
    missing = found.get("no_trtexec") if runtime == "tensorrt" else found.get("no_onnxruntime")
    return Line(what="runtime", met=version is not None, said=f"{runtime} {version}" if version else str(missing))


def _contract(device: Device) -> Iterator[Line]:
    contract = device.contract
    unsupported = [percent for percent in contract.percentiles if runs_needed(percent / 100) > contract.min_runs]
    needs = ", ".join(f"p{percent:g} needs {runs_needed(percent / 100)} runs" for percent in unsupported)
    enough = f"; {needs}, printed only when made" if needs else ""
    yield Line(
        what="contract",
        met=None,
        said=f"batch {contract.batch}, {contract.warmup_seconds:g} s warm-up, {contract.seconds:g} s and at least "
        f"{contract.min_runs} runs a file{enough}",
    )  # fmt: skip
    if contract.power_mode:
        yield Line(what="power mode", met=None, said=f"set before measuring: {contract.power_mode}")


def _figures(device: Device) -> Iterator[Line]:
    missing = [name for name in UNITS if getattr(device.peaks, name) is None]
    if device.connection is None:
        said = "all there, each with its source" if not missing else f"absent because unpublished: {', '.join(missing)}"
        yield Line(what="figures", met=None, said=said)
    elif missing:
        yield Line(
            what="figures", met=None, said=f"not in the profile, and not needed where one measures: {', '.join(missing)}"
        )


def _calibration(device: Device) -> Line:
    path = calibration_file.default_path(device.name, device.threads)
    if device.connection != "local" or not path.is_file():
        able = device.connection == "local" and device.runtime == "onnxruntime" and device.kind == "cpu"
        how = f"; make one: compress devices calibrate {device.name}" if able else ""
        return Line(what="calibration", met=None, said=f"none{how}")
    try:
        calibration = calibration_file.load(path)
    except DeviceError as error:
        return Line(what="calibration", met=False, said=str(error))
    if reason := calibration_file.mismatch_reason(
        calibration, calibration_file.this_processor(device.hardware), device.threads
    ):
        return Line(what="calibration", met=False, said=f"{path} is not valid: {reason}")
    accuracy = calibration.accuracy
    said = f"mean error {accuracy.mean:.1%} on {accuracy.networks} architectures left out of the fit"
    if warning := calibration.load_warning:
        again = f"; stop other programs and run `compress devices calibrate {device.name}` again"
        return Line(what="calibration", met=False, said=f"{path}, of {calibration.created}: {said}; {warning}{again}")
    return Line(what="calibration", met=True, said=f"{path}, of {calibration.created}: {said}")


def reachable(lines: tuple[Line, ...]) -> bool:
    """Whether what a figure on this device needs is there: it is reached or estimated, and its runtime is installed."""
    return all(line.met is not False for line in lines if line.what in ("reach", "runtime"))
