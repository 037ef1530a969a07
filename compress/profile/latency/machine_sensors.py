"""Clock, temperature and throttling of this machine; the reason for each reading that is missing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from compress.core.language import gettext


@dataclass
class MachineSensors:
    """Readings of this machine.

    Attributes:
        root: Folder that contains `sys`; differs in tests.
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
        """Number of throttling events of all processors since boot; None where the kernel does not count them."""
        counts = _numbers(self._throttles)
        return sum(counts) if counts else None

    def missing(self) -> dict[str, str]:
        """Reasons for missing readings, by name of the reading."""
        cpus = self.root / "sys/devices/system/cpu"
        reasons = {
            "clock": ("" if self.clock_mhz() else gettext("{cpus}/cpu*/cpufreq has no clock to read", cpus=cpus)),
            "temperature": (
                ""
                if self.temperature_c()
                else gettext("no thermal zone and no hwmon temperature under {root}", root=self.root / "sys/class")
            ),
            "throttles": (
                "" if self.throttles() is not None else gettext("{cpus}/cpu*/thermal_throttle does not exist", cpus=cpus)
            ),
        }
        return {
            name: gettext("{reason} (usual on virtual machines)", reason=reason) for name, reason in reasons.items() if reason
        }


def _numbers(files: Iterable[Path]) -> list[int]:
    """Integers in the readable files; files of offline processors and sleeping sensors are not."""
    numbers = []
    for file in files:
        try:
            numbers.append(int(file.read_text(encoding="ascii", errors="replace")))
        except (OSError, ValueError):
            continue
    return numbers
