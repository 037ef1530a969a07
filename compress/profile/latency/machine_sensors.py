"""Clock, temperature and throttling of this machine; each reading, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class MachineSensors:
    """Readings of this machine.

    Attributes:
        root: Folder of `sys`; another one in tests.
    """

    root: Path = Path("/")
    _clocks: tuple[Path, ...] = field(default=(), repr=False)
    _temperatures: tuple[Path, ...] = field(default=(), repr=False)
    _throttles: tuple[Path, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        """Find the kernel's files."""
        cpus = self.root / "sys/devices/system/cpu"
        self._clocks = tuple(sorted(cpus.glob("cpu[0-9]*/cpufreq/scaling_cur_freq")))
        zones = sorted((self.root / "sys/class/thermal").glob("thermal_zone*/temp"))
        self._temperatures = tuple(zones) or tuple(sorted((self.root / "sys/class/hwmon").glob("hwmon*/temp*_input")))
        self._throttles = tuple(sorted(cpus.glob("cpu[0-9]*/thermal_throttle/*_throttle_count")))

    def clock_mhz(self) -> float | None:
        """Clock of the fastest processor, which runs the inference, MHz; None where it cannot be read."""
        kilohertz = _numbers(self._clocks)
        return max(kilohertz) / 1000 if kilohertz else None

    def temperature_c(self) -> float | None:
        """Temperature of the hottest sensor, °C; None where no sensor can be read."""
        temperatures = [value / 1000 for value in _numbers(self._temperatures) if value > 0]
        return max(temperatures, default=None)

    def throttles(self) -> int | None:
        """Number of throttling events of all processors since the start of the system; None where they are not counted."""
        counts = _numbers(self._throttles)
        return sum(counts) if counts else None

    def missing(self) -> dict[str, str]:
        """Reason why a reading is missing, by name of the reading."""
        cpus = self.root / "sys/devices/system/cpu"
        reasons = {
            "clock": ("" if self.clock_mhz() else f"{cpus}/cpu*/cpufreq has no clock to read"),
            "temperature": (
                "" if self.temperature_c() else f"no thermal zone and no hwmon temperature under {self.root / 'sys/class'}"
            ),
            "throttles": ("" if self.throttles() is not None else f"{cpus}/cpu*/thermal_throttle is not there"),
        }
        return {name: f"{reason} (usual on virtual machines)" for name, reason in reasons.items() if reason}


def _numbers(files: Iterable[Path]) -> list[int]:
    """Integers in those files that can be read: processors go offline, and sensors sleep."""
    numbers = []
    for file in files:
        try:
            numbers.append(int(file.read_text(encoding="ascii", errors="replace")))
        except (OSError, ValueError):
            continue
    return numbers
