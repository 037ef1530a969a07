"""Power and energy, from the first sensor that the machine has; the exact reasons where it has none.

One file for each sensor, one registry row (`power_sensor`) for each name; `meter` runs the models while a sensor is read.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module

from compress.profile.power.base import Sensor
from compress.profile.power.meter import measure


def open_sensors(targets: Iterable[str]) -> tuple[Sensor, ...]:
    """Sensors by the `module:class` of their registry rows: the registry itself is not there on devices over SSH."""
    parts = (target.partition(":") for target in targets)
    return tuple(getattr(import_module(module), name)() for module, _, name in parts)


def first_available(sensors: Iterable[Sensor]) -> tuple[Sensor | None, str]:
    """The first sensor that can be read; else None, and why each of them cannot."""
    reasons = []
    for sensor in sensors:
        reason = sensor.available()
        if reason is None:
            return sensor, ""
        reasons.append(f"{sensor.name}: {reason}")
    return None, "; ".join(reasons)


__all__ = ["Sensor", "first_available", "measure", "open_sensors"]
