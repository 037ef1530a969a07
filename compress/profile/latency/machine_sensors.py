"""What the machine feels under load: clock, temperature, and how often it throttled; each or the reason why not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class MachineSensors:
    """Readings of this machine.

    Attributes:
        root: Where `sys` is; another folder in tests.
    """

    root: Path = Path("/")
    _clocks: tuple[Path, ...] = field(default=(), repr=False)
    _temperatures: tuple[Path, ...] = field(default=(), repr=False)
    _throttles: tuple[Path, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        """Find what there is to read."""
        cpus = self.root / "sys/devices/system/cpu"
        self._clocks = tuple(sorted(cpus.glob("cpu[0-9]*/cpufreq/scaling_cur_freq")))
        zones = sorted((self.root / "sys/class/thermal").glob("thermal_zone*/temp"))
        self._temperatures = tuple(zones) or tuple(sorted((self.root / "sys/class/hwmon").glob("hwmon*/temp*_input")))
        self._throttles = tuple(sorted(cpus.glob("cpu[0-9]*/thermal_throttle/*_throttle_count")))

    def clock_mhz(self) -> float | None:
        """Clock of the fastest processor, which is the one at work; None where it cannot be read."""
        found = _numbers(self._clocks)
        return max(found) / 1000 if found else None

    def temperature_c(self) -> float | None:
        """Hottest sensor; None where none can be read."""
        found = [value / 1000 for value in _numbers(self._temperatures) if value > 0]
        return max(found) if found else None

    def throttles(self) -> int | None:
        """How often the processors throttled since they were started; None where it is not counted."""
        found = _numbers(self._throttles)
        return sum(found) if found else None

    def missing(self) -> dict[str, str]:
        """Why a reading is not there, by its name."""
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
    """Whole numbers of those files that can be read; processors come and go, and sensors sleep."""
    found = []
    for file in files:
        try:
            found.append(int(file.read_text(encoding="ascii", errors="replace")))
        except (OSError, ValueError):
            continue
    return found
