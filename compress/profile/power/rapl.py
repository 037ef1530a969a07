"""Energy counters of Intel and AMD processors (RAPL), read from the kernel's powercap folder.

    E = Σ over packages and readings of (counter − previous counter) mod range,   in µJ, updated about every millisecond

David et al. 2010, "RAPL: memory power estimation and capping", ISLPED. A package is the whole processor: cores, caches and
memory controller. Memory has another counter and is not included.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from compress.core.language import gettext, ngettext
from compress.profile.power.base import number_in

POWERCAP = Path("/sys/class/powercap")
MICRO = 1e-6


@dataclass
class Rapl:
    """All processor packages together.

    Attributes:
        root: Powercap folder of the kernel; differs in tests.
    """

    root: Path = POWERCAP
    name: str = "RAPL"
    counts: bool = True
    rate_hz: float = 50.0
    shortest_s: float = 1.0
    _packages: list[Path] = field(default_factory=list, repr=False)
    _limits: list[int] = field(default_factory=list, repr=False)
    _last: list[int] = field(default_factory=list, repr=False)
    _joules: float = 0.0

    def available(self) -> str | None:
        """None if every package can be read."""
        if not self.root.is_dir():
            return gettext(
                "{root} does not exist (no powercap driver: usual on virtual machines, Arm and outside Linux)", root=self.root
            )
        packages = [folder for folder in sorted(self.root.glob("intel-rapl:*[0-9]")) if folder.name.count(":") == 1]
        if not packages:
            return gettext(
                "{root} contains no intel-rapl package (the kernel has one for Intel and AMD processors)", root=self.root
            )
        if unreadable := [folder for folder in packages if not os.access(folder / "energy_uj", os.R_OK)]:
            return gettext(
                "{unreadable} is not readable by this user; run as root or `chmod a+r` it",
                unreadable=unreadable[0] / "energy_uj",
            )
        self._packages = packages
        return None

    def measures(self) -> str:
        """Number of packages."""
        count = len(self._packages)
        return ngettext(
            "{number} processor package, memory not included", "{number} processor packages, memory not included", count
        )

    def start(self) -> None:
        """Read the ranges and the present values of the counters."""
        self._limits = [number_in(folder / "max_energy_range_uj") + 1 for folder in self._packages]
        self._last = [number_in(folder / "energy_uj") for folder in self._packages]
        self._joules = 0.0

    def read(self) -> float:
        """Energy since `start`, J; correct for at most one wrap-around of a counter between two readings."""
        now = [number_in(folder / "energy_uj") for folder in self._packages]
        steps = ((new - old) % limit for new, old, limit in zip(now, self._last, self._limits, strict=True))
        self._joules += sum(steps) * MICRO
        self._last = now
        return self._joules

    def stop(self) -> None:
        """Nothing to free."""
