"""Power and energy, from whatever sensor the machine has; the exact reasons where it has none.

One file a sensor; `meter` runs the models beside it. Sensors are told apart by the names that device profiles use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from compress.profile.power.base import Sensor
from compress.profile.power.battery import Battery
from compress.profile.power.jetson_ina3221 import Ina3221
from compress.profile.power.jetson_tegrastats import Tegrastats
from compress.profile.power.meter import measure
from compress.profile.power.nvml import Nvml
from compress.profile.power.rapl import Rapl

SENSORS: dict[str, Callable[[], Sensor]] = {
    "rapl": Rapl,
    "nvml": Nvml,
    "ina3221": Ina3221,
    "tegrastats": Tegrastats,
    "battery": Battery,
}


def sensors(names: Iterable[str]) -> tuple[Sensor, ...]:
    """Sensors by name, in order of preference."""
    return tuple(SENSORS[name]() for name in names)


__all__ = ["SENSORS", "Sensor", "measure", "sensors"]
