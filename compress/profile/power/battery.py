"""Power drawn from a battery, as its gauge tells: phones, tablets and laptops while they are not charged.

    P = power_now,   or   |voltage_now × current_now|

Kernel documentation, sysfs-class-power. A gauge sees the whole machine, screen and radio included, and is renewed only every
second or so, by some makers every half minute.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from compress.core.errors import DeviceError
from compress.profile.power.base import number_in, text_in

SUPPLIES = Path("/sys/class/power_supply")
MICRO = 1e-6


@dataclass
class Battery:
    """All batteries that feed the machine.

    Attributes:
        root: The kernel's power supply folder; another in tests.
    """

    root: Path = SUPPLIES
    name: str = "battery gauge"
    counts: bool = False
    rate_hz: float = 2.0
    shortest_s: float = 20.0
    _batteries: list[Path] = field(default_factory=list, repr=False)

    def available(self) -> str | None:
        """None when the machine runs on a battery whose gauge can be read."""
        folders = sorted(self.root.glob("*")) if self.root.is_dir() else []
        found = [one for one in folders if text_in(one / "type") == "Battery" and text_in(one / "scope") != "Device"]
        if not found:
            return f"{self.root} holds no battery"
        self._batteries = found
        try:
            watts = self.read()
        except (DeviceError, OSError, ValueError) as error:
            return str(error)
        return None if watts > 0 else "it reads 0 W"

    def measures(self) -> str:
        """Which batteries."""
        return f"everything that {', '.join(battery.name for battery in self._batteries)} feeds, screen and radio included"

    def start(self) -> None:
        """Nothing to take."""

    def read(self) -> float:
        """Watts drawn.

        Raises:
            DeviceError: No battery is being discharged: the gauge then tells the charger's power.
        """
        states = {battery.name: text_in(battery / "status") for battery in self._batteries}
        if "Discharging" not in states.values():
            told = ", ".join(f"{name} is {state or 'in no known state'}" for name, state in states.items())
            msg = f"{told}: unplug the charger, for only a battery that is discharging tells what is drawn"
            raise DeviceError(msg)
        return sum(_watts(battery) for battery in self._batteries if states[battery.name] == "Discharging")

    def stop(self) -> None:
        """Nothing is held."""


def _watts(battery: Path) -> float:
    if (battery / "power_now").exists():
        return abs(number_in(battery / "power_now")) * MICRO
    return abs(number_in(battery / "voltage_now") * MICRO * number_in(battery / "current_now") * MICRO)
