"""Power and energy of inferences from the first sensor that works, or the reason why each sensor does not.

Each sensor has one file and one registry row (`power_sensor`); `meter` runs the models while a sensor is read.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module

from compress.core.language import gettext, joined
from compress.profile.power.base import Sensor
from compress.profile.power.meter import measure


def open_sensors(targets: Iterable[str]) -> tuple[Sensor, ...]:
    """Create sensors from the `module:class` of their registry rows; devices over SSH do not have the registry itself."""
    parts = (target.partition(":") for target in targets)
    return tuple(getattr(import_module(module), name)() for module, _, name in parts)


def first_available(sensors: Iterable[Sensor]) -> tuple[Sensor | None, str]:
    """The first sensor that can be read and an empty reason; else None and why each sensor cannot be read."""
    reasons = []
    for sensor in sensors:
        reason = sensor.available()
        if reason is None:
            return sensor, ""
        reasons.append(gettext("{sensor}: {reason}", sensor=gettext(sensor.name), reason=reason))
    return None, joined(reasons)


__all__ = ["Sensor", "first_available", "measure", "open_sensors"]
