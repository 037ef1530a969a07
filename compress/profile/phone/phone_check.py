"""Checks of an Android device for `compress devices check`: connection, model, benchmark program, storage and battery."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from compress.config.devices import Device
from compress.config.devices.hardware_identity import contradicts_profile
from compress.core.errors import DeviceError
from compress.core.language import gettext
from compress.profile.phone.benchmark import PhoneBenchmark
from compress.profile.phone.phone_state import PhoneGauge, PhoneState, read_facts, read_state
from compress.profile.phone.session import PhoneSession
from compress.profile.settings import MeasurementSettings

WARM_CELSIUS = 40.0
"""A battery above this temperature is warm: many phones then lower their clocks."""


class PhoneCheck(NamedTuple):
    """Fields of a `device_check.CheckResult`."""

    what: str
    met: bool | None
    text: str


def check_phone(device: Device) -> list[PhoneCheck]:
    """Inspect an Android device over adb; nothing is measured or written there."""
    results: list[PhoneCheck] = []
    try:
        with PhoneSession(device) as phone:
            results += _checks(phone)
    except DeviceError as error:
        return [*results, PhoneCheck("reach", met=False, text=str(error))]
    return results


def _checks(phone: PhoneSession) -> Iterator[PhoneCheck]:
    device = phone.device
    facts, state = read_facts(phone), read_state(phone)
    free = "" if facts.free_bytes is None else gettext(", {free:.1f} GB free", free=facts.free_bytes / 1e9)
    where = f"{phone.serial}: {facts.hardware}, Android {facts.android}{free}"
    yield PhoneCheck("reach", met=True, text=where)
    untried = gettext("measuring over adb was tested with a stand-in for adb only, never with a phone")
    yield PhoneCheck("untried", met=None, text=untried)
    if contradicts_profile(device, facts.hardware):
        text = gettext(
            "the profile describes {title}, but the device is {hardware}: limits will fail",
            title=device.title,
            hardware=facts.hardware,
        )
        yield PhoneCheck("hardware", met=False, text=text)
    benchmark = PhoneBenchmark(phone, MeasurementSettings.of(device, threads=device.threads, seconds=device.contract.seconds))
    missing = benchmark.missing_program()
    text = missing or gettext("{runtime} by {tool}", runtime=benchmark.tool.runtime, tool=phone.where.benchmark)
    yield PhoneCheck("runtime", met=not missing, text=text)
    yield _battery(state)
    reason = PhoneGauge(phone).available()
    yield PhoneCheck("power sensor", met=reason is None, text=PhoneGauge(phone).measures() if reason is None else reason)


def _battery(state: PhoneState) -> PhoneCheck:
    """Clocks of a phone cannot be locked; a warm one lowers them."""
    words = ", ".join(state.words()) or gettext("nothing readable")
    if state.celsius is not None and state.celsius > WARM_CELSIUS:
        return PhoneCheck(
            "clocks", met=False, text=gettext("{words}; it is warm: let it cool down before measuring", words=words)
        )
    return PhoneCheck("clocks", met=None, text=gettext("{words}; clocks cannot be locked over adb", words=words))
