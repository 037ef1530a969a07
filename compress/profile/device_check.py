"""Check a device profile for `compress devices check`: connection, runtime, sensors, protocol, peaks and calibration."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from importlib import metadata

from compress.config.devices import Device
from compress.config.devices.adb_connection import Adb
from compress.config.devices.connection import Ssh
from compress.config.devices.hardware_identity import ReportedHardware, contradicts_profile
from compress.config.devices.profile_schema import UNITS
from compress.core.errors import DeviceError
from compress.core.frozen_model import FrozenModel
from compress.core.language import gettext
from compress.core.statistics import runs_needed
from compress.profile.cost_model import calibration_file
from compress.profile.settings import sensor_targets

NO_SENSOR = "the measurement protocol names no sensor; power is not measured"


class CheckResult(FrozenModel):
    """Result of one check.

    Attributes:
        what: Subject of the check, such as `power sensor`.
        met: Whether the requirement is met; None for information, which cannot fail.
        text: Result, and what to do if the requirement is not met.
    """

    what: str
    met: bool | None
    text: str


def check_device(device: Device) -> tuple[CheckResult, ...]:
    """Check a device without measuring or changing anything; a device over SSH or adb is inspected through it."""
    if device.connection is None:
        reach = [
            CheckResult(
                what="reach",
                met=None,
                text=gettext("not connected: estimated; to measure, add `connection: {ssh: HOST}` to the profile"),
            ),
            CheckResult(what="runtime", met=None, text=gettext("{runtime}, assumed", runtime=device.runtime)),
        ]
    elif isinstance(device.connection, Ssh):
        reach = _check_ssh(device)
    elif isinstance(device.connection, Adb):
        from compress.profile.phone.phone_check import check_phone

        reach = [CheckResult(what=what, met=met, text=text) for what, met, text in check_phone(device)]
    else:
        reach = [*_check_this_machine(device)]
    return (*reach, *_protocol(device), *_peaks(device), _calibration(device))


def _check_this_machine(device: Device) -> Iterator[CheckResult]:
    from compress.profile import power
    from compress.profile.remote.agent_sensors import clocks

    machine = device.hardware
    sets = ", ".join(machine.instruction_sets) if machine else ""
    yield CheckResult(
        what="reach",
        met=True,
        text=gettext(
            "this machine: {cpu}, {processors} processors, {sets}", cpu=machine.cpu, processors=machine.processors, sets=sets
        )
        if machine
        else "",
    )
    yield _runtime(device.runtime)
    for name in dict.fromkeys(device.runtimes):
        result = _runtime(name) if ":" not in name else _provider(name)
        yield CheckResult(what="also tried", met=result.met, text=result.text)
    yield _clocks(clocks(), virtual=bool(machine and machine.virtual))
    sensor, reason = power.first_available(power.open_sensors(sensor_targets(device)))
    if sensor is None:
        yield CheckResult(what="power sensor", met=False, text=reason or gettext(NO_SENSOR))
    else:
        yield CheckResult(what="power sensor", met=True, text=f"{sensor.name}, {sensor.measures()}")
        sensor.stop()


def _runtime(runtime: str) -> CheckResult:
    try:
        version = metadata.version(runtime)
    except metadata.PackageNotFoundError:
        trtexec = shutil.which("trtexec") if runtime == "tensorrt" else None
        text = (
            gettext("trtexec at {trtexec}", trtexec=trtexec)
            if trtexec
            else gettext("{runtime} is not installed: pip install {runtime}", runtime=runtime)
        )
        return CheckResult(what="runtime", met=trtexec is not None, text=text)
    return CheckResult(what="runtime", met=True, text=f"{runtime} {version}")


def _provider(runtime: str) -> CheckResult:
    """Whether the installed ONNX Runtime has the execution provider of a name such as `onnxruntime:cuda`."""
    from compress.backends.onnxruntime_runner import provider_name

    try:
        return CheckResult(what="runtime", met=True, text=f"{runtime}: {provider_name(runtime.partition(':')[2])}")
    except DeviceError as error:
        return CheckResult(what="runtime", met=False, text=f"{runtime}: {error}")


def _clocks(readings: Mapping[str, str], *, virtual: bool) -> CheckResult:
    values = ", ".join(f"{name} {value}" for name, value in readings.items())
    machine = gettext("a virtual machine; ") if virtual else ""
    if "governor" not in readings:
        text = gettext(
            "{machine}{values} readable; clocks cannot be read or locked", machine=machine, values=values or gettext("nothing")
        )
        return CheckResult(what="clocks", met=False, text=text)
    locked = readings["governor"] == "performance"
    advice = "" if locked else gettext("; not locked: set the governor to performance before measuring")
    return CheckResult(what="clocks", met=locked, text=f"{machine}{values}{advice}")


def _check_ssh(device: Device) -> list[CheckResult]:
    from compress.profile.remote.inspect_device import inspect_device

    try:
        facts = inspect_device(device)
    except DeviceError as error:
        return [CheckResult(what="reach", met=False, text=str(error))]
    hardware = ReportedHardware(facts.cpu, facts.architecture)
    results = [CheckResult(what="reach", met=True, text=f"{facts.host}: {hardware}, {facts.system}")]
    if contradicts_profile(device, hardware):
        text = gettext(
            "the profile describes {title}, but the device is {hardware}: limits will fail",
            title=device.title,
            hardware=hardware,
        )
        results.append(CheckResult(what="hardware", met=False, text=text))
    version = facts.tensorrt if device.runtime == "tensorrt" else facts.onnxruntime
    text = f"{device.runtime} {version}" if version else facts.missing(device)
    return [
        *results,
        CheckResult(what="runtime", met=bool(version), text=text),
        _clocks(facts.clocks, virtual=False),
        CheckResult(what="power sensor", met=bool(facts.power), text=facts.power or facts.no_power or gettext(NO_SENSOR)),
    ]


def _protocol(device: Device) -> Iterator[CheckResult]:
    contract = device.contract
    unsupported = [percent for percent in contract.percentiles if runs_needed(percent / 100) > contract.min_runs]
    needs = ", ".join(
        gettext("p{percent:g} needs {runs_needed} runs", percent=percent, runs_needed=runs_needed(percent / 100))
        for percent in unsupported
    )
    note = gettext("; {needs}, and is missing with fewer", needs=needs) if needs else ""
    yield CheckResult(
        what="contract",
        met=None,
        text=gettext(
            "batch {batch}, {warmup_seconds:g} s warm-up, {seconds:g} s and at least {min_runs} runs per file{note}",
            batch=contract.batch,
            warmup_seconds=contract.warmup_seconds,
            seconds=contract.seconds,
            min_runs=contract.min_runs,
            note=note,
        ),
    )
    if contract.power_mode:
        yield CheckResult(
            what="power mode",
            met=None,
            text=gettext("set before measuring: {power_mode}", power_mode=contract.power_mode),
        )


def _peaks(device: Device) -> Iterator[CheckResult]:
    missing = [name for name in UNITS if getattr(device.peaks, name) is None]
    if device.connection is None:
        text = (
            gettext("complete, each with its source")
            if not missing
            else gettext("missing, because not published: {missing}", missing=", ".join(missing))
        )
        yield CheckResult(what="figures", met=None, text=text)
    elif missing:
        text = gettext("not in the profile, and not needed for a measured device: {missing}", missing=", ".join(missing))
        yield CheckResult(what="figures", met=None, text=text)


def _calibration(device: Device) -> CheckResult:
    path = calibration_file.default_path(device.name, device.threads)
    command = f"compress devices calibrate {device.name}"
    if device.connection != "local" or not path.is_file():
        supported = device.connection == "local" and device.runtime == "onnxruntime" and device.kind == "cpu"
        return CheckResult(
            what="calibration",
            met=None,
            text=gettext("none; run `{command}`", command=command) if supported else gettext("none"),
        )
    try:
        calibration = calibration_file.load(path)
    except DeviceError as error:
        return CheckResult(what="calibration", met=False, text=str(error))
    processor = calibration_file.this_processor(device.hardware)
    if reason := calibration_file.mismatch_reason(calibration, processor, device.threads):
        return CheckResult(
            what="calibration", met=False, text=gettext("{path} is not valid: {reason}", path=path, reason=reason)
        )
    accuracy, warning = calibration.accuracy, calibration.load_warning
    error_text = gettext(
        "mean error {mean:.1%} in cross-validation over {networks} architectures",
        mean=accuracy.mean,
        networks=accuracy.networks,
    )
    advice = (
        gettext("; {warning}; stop other programs and run `{command}` again", warning=warning, command=command)
        if warning
        else ""
    )
    text = gettext(
        "{path}, of {created}: {error_text}{advice}",
        path=path,
        created=calibration.created,
        error_text=error_text,
        advice=advice,
    )
    return CheckResult(what="calibration", met=not warning, text=text)


def reachable(results: tuple[CheckResult, ...]) -> bool:
    """Whether the device can be measured or estimated: it is reached or has an estimate, and its runtime is installed."""
    return all(result.met is not False for result in results if result.what in ("reach", "runtime"))
