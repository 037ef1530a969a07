"""What an Android device says of itself: model, processor, battery and temperatures.

Sources: `getprop`; `dumpsys battery` of Android's BatteryService (level %, voltage mV, temperature 0.1 °C, status 2 charging,
3 discharging, 4 not charging, 5 full); kernel documentation, sysfs-class-thermal (m°C) and sysfs-class-power (µA, µV).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from compress.config.devices.hardware_identity import ReportedHardware
from compress.core.errors import DeviceError
from compress.core.language import gettext
from compress.profile.phone.session import PhoneSession, last_words

THERMAL = 'for zone in /sys/class/thermal/thermal_zone*; do echo "$(cat $zone/type) $(cat $zone/temp)"; done 2>/dev/null'
GAUGE = "/sys/class/power_supply/battery"
DISCHARGING = "3"
STATUS = {"2": "charging", DISCHARGING: "discharging", "4": "not charging", "5": "full"}
COLDEST, HOTTEST = 1_000, 150_000
"""Readings of a thermal zone that are temperatures of a device in use, m°C; others are of unused zones."""
SMALLEST_UA = 10_000
"""Android devices in use draw more than 10 mA; smaller readings are in mA and not, as documented, in µA."""
MICRO = 1e-6


@dataclass(frozen=True)
class PhoneFacts:
    """Model and software of an Android device.

    Attributes:
        hardware: Maker, model and processor, and the output of `uname -m`.
        android: Release of Android.
        free_bytes: Free space for the temporary folder; None if `df` does not say.
    """

    hardware: ReportedHardware
    android: str
    free_bytes: int | None


@dataclass(frozen=True)
class PhoneState:
    """Battery and temperatures at one time; None where the device does not say.

    Attributes:
        level: Charge of the battery, %.
        celsius: Temperature of the battery.
        volts: Voltage of the battery.
        status: Status code of BatteryService; empty if unknown.
        warmest: Name of the warmest thermal zone.
        warmest_celsius: Its temperature.
    """

    level: float | None
    celsius: float | None
    volts: float | None
    status: str
    warmest: str
    warmest_celsius: float | None

    @property
    def discharging(self) -> bool:
        """Whether the battery supplies the device."""
        return self.status == DISCHARGING

    def words(self) -> tuple[str, ...]:
        """The readings, for people."""
        readings = [
            None if self.level is None else gettext("battery {level:.0f} %", level=self.level),
            gettext(STATUS[self.status]) if self.status in STATUS else None,
            None if self.volts is None else f"{self.volts:.2f} V",
            None if self.celsius is None else gettext("battery at {celsius:.1f} °C", celsius=self.celsius),
            None
            if self.warmest_celsius is None
            else gettext("zone {zone} at {celsius:.1f} °C, the warmest", zone=self.warmest, celsius=self.warmest_celsius),
        ]
        return tuple(reading for reading in readings if reading is not None)


def read_facts(phone: PhoneSession) -> PhoneFacts:
    """Model and software of the device.

    Raises:
        DeviceError: The device has gone.
    """
    properties = dict(re.findall(r"^\[([^\]]+)\]: \[([^\]]*)\]", phone.shell(["getprop"]).text, re.MULTILINE))

    def first(*names: str) -> str:
        return next((properties[name] for name in names if properties.get(name)), "")

    model = f"{first('ro.product.manufacturer')} {first('ro.product.model')}".strip()
    chip = f"{first('ro.soc.manufacturer')} {first('ro.soc.model', 'ro.board.platform', 'ro.hardware')}".strip()
    machine = phone.shell(["uname", "-m"]).text.strip()
    return PhoneFacts(
        ReportedHardware(", ".join(part for part in (model, chip) if part), machine),
        first("ro.build.version.release") or "?",
        _free(phone.shell(["df", "-k", "/data/local/tmp"]).text),
    )


def read_state(phone: PhoneSession) -> PhoneState:
    """Battery and temperatures.

    Raises:
        DeviceError: The device has gone.
    """
    battery = parse_battery(phone.shell(["dumpsys", "battery"]).text)
    zones = parse_zones(phone.script(THERMAL).text)
    warmest = max(zones, key=lambda zone: zones[zone], default="")
    return PhoneState(
        _number(battery.get("level"), 1),
        _number(battery.get("temperature"), 0.1),
        _number(battery.get("voltage"), 1e-3),
        battery.get("status", ""),
        warmest,
        zones.get(warmest),
    )


def parse_battery(text: str) -> dict[str, str]:
    """Fields of `dumpsys battery`; the first of each name, because logs of some makers follow."""
    fields: dict[str, str] = {}
    for name, value in re.findall(r"^ +([\w ]+): *(\S+) *$", text, re.MULTILINE):
        fields.setdefault(name, value)
    return fields


def parse_zones(text: str) -> dict[str, float]:
    """Temperature of each thermal zone in use by its type, °C; the warmest of each type."""
    zones: dict[str, float] = {}
    for name, reading in re.findall(r"^(\S+) (-?\d+)$", text, re.MULTILINE):
        if COLDEST <= int(reading) <= HOTTEST:
            zones[name] = max(zones.get(name, 0.0), int(reading) / 1000)
    return zones


@dataclass
class PhoneGauge:
    """Power drawn from the battery of an Android device by its fuel gauge, read over adb: P = |voltage_now × current_now|.

    A `Sensor`. It measures the whole device and works only while the battery supplies it, so with adb over the network.

    Attributes:
        phone: Session that reads it.
    """

    phone: PhoneSession
    name: str = "battery gauge"
    counts: bool = False
    rate_hz: float = 1.0
    shortest_s: float = 20.0

    def available(self) -> str | None:
        """None if the battery is discharging and its current can be read."""
        try:
            self.read()
        except (DeviceError, ValueError) as error:
            return str(error)
        return None

    def measures(self) -> str:
        """What it measures."""
        return gettext("whole device by voltage × current of its battery, screen and radio included")

    def start(self) -> None:
        """Nothing to open."""

    def read(self) -> float:
        """Power drawn, W.

        Raises:
            DeviceError: The battery is not discharging, or its current cannot be read.
        """
        reply = self.phone.shell(["cat", f"{GAUGE}/status", f"{GAUGE}/current_now", f"{GAUGE}/voltage_now"])
        lines = reply.text.split("\n")
        if reply.code or len(lines) < 3:
            raise DeviceError(gettext("its current cannot be read: {text}", text=last_words(reply.text)))
        if lines[0].strip() != "Discharging":
            msg = gettext(
                "the battery is {status}: a current is power drawn only while it discharges; use adb over the network "
                "(`adb tcpip 5555`, `adb connect HOST`) and unplug the cable",
                status=lines[0].strip(),
            )
            raise DeviceError(msg)
        current, voltage = (int(line) for line in lines[1:3])
        if abs(current) < SMALLEST_UA:
            msg = gettext(
                "current_now is {current}, which is no current in µA of a device in use; the unit of this gauge is not known",
                current=current,
            )
            raise DeviceError(msg)
        return abs(current) * MICRO * abs(voltage) * MICRO

    def stop(self) -> None:
        """Nothing to free."""


def _number(text: str | None, scale: float) -> float | None:
    return float(text) * scale if text is not None and re.fullmatch(r"-?\d+", text) else None


def _free(text: str) -> int | None:
    """Bytes from the output of `df -k`: the fourth column of the last line."""
    columns = text.strip().splitlines()[-1:]
    words = columns[0].split() if columns else []
    return int(words[3]) * 1024 if len(words) >= 6 and words[3].isdigit() else None
