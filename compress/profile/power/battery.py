"""Power drawn from a battery, by its gauge: phones, tablets and laptops while they are not charged.

    P = power_now,   or   |voltage_now × current_now|

Kernel documentation, sysfs-class-power. A gauge measures the whole machine, screen and radio
included, and is updated about every second, by some makers every half minute.
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
        batteries = [
            folder for folder in folders if text_in(folder / "type") == "Battery" and text_in(folder / "scope") != "Device"
        ]
        if not batteries:
            return f"{self.root} holds no battery"
        self._batteries = batteries
        try:
            watts = self.read()
        except (DeviceError, OSError, ValueError) as error:
            return str(error)
        return None if watts > 0 else "it reads 0 W"

    def measures(self) -> str:
        """Names of the batteries."""
        return f"everything that {', '.join(battery.name for battery in self._batteries)} feeds, screen and radio included"

    def start(self) -> None:
        """Nothing to open."""

    def read(self) -> float:
        """Watts drawn.

        Raises:
            DeviceError: No battery is being discharged: the gauge then reports the charger's power.
        """
        states = {battery.name: text_in(battery / "status") for battery in self._batteries}
        if "Discharging" not in states.values():
            charging = ", ".join(f"{name} is {state or 'in no known state'}" for name, state in states.items())
            msg = f"{charging}: unplug the charger, because the gauge reports the power drawn only while the battery discharges"
            raise DeviceError(msg)
        return sum(_watts(battery) for battery in self._batteries if states[battery.name] == "Discharging")

    def stop(self) -> None:
        """Nothing to free."""


def _watts(battery: Path) -> float:
    if (battery / "power_now").exists():
        return abs(number_in(battery / "power_now")) * MICRO
    return abs(number_in(battery / "voltage_now") * MICRO * number_in(battery / "current_now") * MICRO)
