"""Power drawn from a battery by its fuel gauge, for phones, tablets and laptops that are not charging.

    P = power_now,   or   |voltage_now × current_now|

Source: kernel documentation, sysfs-class-power. A gauge measures the whole machine, screen and radio included. It is updated
about once per second, on some devices every 30 s.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from compress.core.errors import DeviceError
from compress.core.language import gettext
from compress.profile.power.base import number_in, text_in

SUPPLIES = Path("/sys/class/power_supply")
MICRO = 1e-6


@dataclass
class Battery:
    """All batteries that supply the machine.

    Attributes:
        root: Power supply folder of the kernel; differs in tests.
    """

    root: Path = SUPPLIES
    name: str = "battery gauge"
    counts: bool = False
    rate_hz: float = 2.0
    shortest_s: float = 20.0
    _batteries: list[Path] = field(default_factory=list, repr=False)

    def available(self) -> str | None:
        """None if the machine runs on a battery whose gauge can be read."""
        folders = sorted(self.root.glob("*")) if self.root.is_dir() else []
        batteries = [
            folder for folder in folders if text_in(folder / "type") == "Battery" and text_in(folder / "scope") != "Device"
        ]
        if not batteries:
            return gettext("{root} contains no battery", root=self.root)
        self._batteries = batteries
        try:
            watts = self.read()
        except (DeviceError, OSError, ValueError) as error:
            return str(error)
        return None if watts > 0 else gettext("it reads 0 W")

    def measures(self) -> str:
        """Names of the batteries."""
        return gettext(
            "whole machine on {batteries}, screen and radio included",
            batteries=", ".join(battery.name for battery in self._batteries),
        )

    def start(self) -> None:
        """Nothing to open."""

    def read(self) -> float:
        """Power drawn, W.

        Raises:
            DeviceError: No battery is discharging; the gauge then reports the charging power.
        """
        states = {battery.name: text_in(battery / "status") for battery in self._batteries}
        if "Discharging" not in states.values():
            state_text = ", ".join(
                gettext("{name} is {state}", name=name, state=state or "in an unknown state") for name, state in states.items()
            )
            msg = gettext(
                "{state_text}: unplug the charger; the gauge reports the power drawn only while the battery discharges",
                state_text=state_text,
            )
            raise DeviceError(msg)
        return sum(_watts(battery) for battery in self._batteries if states[battery.name] == "Discharging")

    def stop(self) -> None:
        """Nothing to free."""


def _watts(battery: Path) -> float:
    if (battery / "power_now").exists():
        return abs(number_in(battery / "power_now")) * MICRO
    return abs(number_in(battery / "voltage_now") * MICRO * number_in(battery / "current_now") * MICRO)
