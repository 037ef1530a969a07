"""Power of a Jetson from its INA3221 monitors: P = voltage × current of the input rail of the module.

The sum of the other rails is less, because none of them supplies memory, regulators and peripherals. AGX modules have no input
rail; there the supplies of the module are summed, as NVIDIA does.

Sources: kernel documentation, hwmon/ina3221; Jetson Linux developer guide, "Power Monitors".
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from compress.core.language import gettext
from compress.profile.power.base import number_in, text_in

INPUTS = ("VDD_IN", "POM_5V_IN", "5V_IN", "VIN")
"""Input rails of Orin Nano, Orin NX, Xavier NX, TX2, Nano and TX1, in different releases."""
MODULES = (("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"), ("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"))
"""Supplies of an AGX Orin and an AGX Xavier module. VDDQ_VDD2_1V8AO is not one of them: VIN_SYS_5V0 supplies it."""


@dataclass(frozen=True)
class Rail:
    """Files of one channel: power in mW, or voltage in mV and current in mA."""

    power: Path | None
    voltage: Path
    current: Path

    def watts(self) -> float:
        """Present power."""
        if self.power is not None:
            return number_in(self.power) * 1e-3
        return number_in(self.voltage) * number_in(self.current) * 1e-6


@dataclass
class Ina3221:
    """The rails that supply a Jetson.

    Attributes:
        root: Folder that contains `sys`; differs in tests.
    """

    root: Path = Path("/")
    name: str = "INA3221"
    counts: bool = False
    rate_hz: float = 20.0
    shortest_s: float = 2.0
    _rails: dict[str, Rail] = field(default_factory=dict, repr=False)

    def available(self) -> str | None:
        """None if the power of the board can be read from its rails."""
        by_label = rails(self.root)
        if not by_label:
            return gettext("no INA3221 monitor under {root} (Jetson boards have one)", root=self.root / "sys")
        names = board_rails(by_label)
        if not names:
            return gettext(
                "none of the rails {by_label} supplies the whole board, and their sum is not its power",
                by_label=", ".join(by_label),
            )
        self._rails = {name: by_label[name] for name in names}
        try:
            watts = self.read()
        except (OSError, ValueError) as error:
            return gettext("rail {names} cannot be read ({error})", names=", ".join(names), error=error)
        return None if watts > 0 else gettext("rail {names} reads 0 W", names=", ".join(names))

    def measures(self) -> str:
        """Names of the rails."""
        return describe_rails(tuple(self._rails))

    def start(self) -> None:
        """Nothing to open."""

    def read(self) -> float:
        """Present power, W."""
        return sum(rail.watts() for rail in self._rails.values())

    def stop(self) -> None:
        """Nothing to free."""


def board_rails(names: Collection[str]) -> tuple[str, ...]:
    """The rails whose sum is the power of the board or module; empty if unknown."""
    single = next(((name,) for name in INPUTS if name in names), ())
    return single or next((module for module in MODULES if set(module) <= set(names)), ())


def describe_rails(names: tuple[str, ...]) -> str:
    """Part of the board that the rails supply, for the report."""
    if len(names) == 1:
        return gettext("rail {names}, the input of the whole module", names=names[0])
    return gettext("sum of the rails {names}, the supplies of the module; carrier board not included", names=", ".join(names))


def rails(root: Path) -> dict[str, Rail]:
    """Labelled channels by label: hwmon in JetPack 5 and later, iio in JetPack 4."""
    by_label: dict[str, Rail] = {}
    hwmon = {folder for folder in root.glob("sys/class/hwmon/hwmon*") if text_in(folder / "name") == "ina3221"}
    hwmon |= set(root.glob("sys/bus/i2c/drivers/ina3221*/*/hwmon/hwmon*"))
    for folder in sorted(hwmon):
        for channel in (1, 2, 3):
            label, current = text_in(folder / f"in{channel}_label"), folder / f"curr{channel}_input"
            if re.fullmatch(r"[A-Z0-9_]+", label) and label != "NC" and current.exists():
                by_label.setdefault(label, Rail(None, folder / f"in{channel}_input", current))
    for folder in sorted(root.glob("sys/bus/i2c/drivers/ina3221x/*/iio:device*")):
        for channel in (0, 1, 2):
            label, power = text_in(folder / f"rail_name_{channel}"), folder / f"in_power{channel}_input"
            if label and power.exists():
                voltage, current = (folder / f"in_{what}{channel}_input" for what in ("voltage", "current"))
                by_label.setdefault(label, Rail(power, voltage, current))
    return by_label
