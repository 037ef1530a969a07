"""Words of the settings of a runtime, and of the checks of a device, whose names code compares."""

from __future__ import annotations

from collections.abc import Mapping

from compress.core.language import gettext

SETTINGS: Mapping[str, str] = {
    "CUDA graph": "CUDA graph",
    "affinity": "affinity",
    "between operators": "between operators",
    "compiled": "compiled",
    "copies": "copies",
    "device": "device",
    "floats": "floats",
    "graph optimization": "graph optimization",
    "layout": "layout",
    "precision": "precision",
    "provider": "provider",
    "runtime": "runtime",
    "spinning": "spinning",
    "threads": "threads",
    "waiting": "waiting",
}
"""Names of settings."""
VALUES: Mapping[str, str] = {
    "1, sequential": "1, sequential",
    "all": "all",
    "no": "no",
    "off": "off",
    "on": "on",
    "pinned host memory, on the same stream, part of the latency": (
        "pinned host memory, on the same stream, part of the latency"
    ),
    "stream synchronization": "stream synchronization",
    "strongly typed": "strongly typed",
    "trtexec, engine built on the device, latency of GPU compute without copies": (
        "trtexec, engine built on the device, latency of GPU compute without copies"
    ),
    "yes": "yes",
}
"""Their values that are words; others are names and numbers."""
SENSORS = ("battery gauge",)
"""Names of power sensors that are words."""
CHECKS: Mapping[str, str] = {
    "also tried": "also tried",
    "calibration": "calibration",
    "clocks": "clocks",
    "contract": "measurement protocol",
    "figures": "figures",
    "hardware": "hardware",
    "power mode": "power mode",
    "power sensor": "power sensor",
    "reach": "connection",
    "runtime": "runtime",
    "untried": "not tried",
}
"""Checks of `compress devices check`."""


def setting_words(name: str, value: str) -> str:
    """A setting with its value."""
    words = gettext(SETTINGS.get(name, name)), gettext(VALUES[value]) if value in VALUES else value
    return gettext("{name} {value}", name=words[0], value=words[1])


def check_words(name: str) -> str:
    """The subject of a check of a device."""
    return gettext(CHECKS[name])
