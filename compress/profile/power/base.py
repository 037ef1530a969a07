"""Interface of power sensors."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol


class Sensor(Protocol):
    """Source of power or energy readings.

    `start` and `read` may raise `DeviceError`, `OSError` or `ValueError`; the power then counts as not measured.

    Attributes:
        name: Name for the report, such as `RAPL`.
        counts: `read` returns an energy counter in joules; otherwise the present power in watts.
        rate_hz: Readings per second.
        shortest_s: Shortest observation with a meaningful result.
    """

    name: str
    counts: bool
    rate_hz: float
    shortest_s: float

    def available(self) -> str | None:
        """None if the sensor can be read, else the reason why not."""

    def measures(self) -> str:
        """Part of the machine that the sensor measures, for the report; valid after `available` returned None."""

    def start(self) -> None:
        """Open the sensor."""

    def read(self) -> float:
        """Present power in watts, or energy in joules since an arbitrary time."""

    def stop(self) -> None:
        """Close the sensor; no effect if it was not started."""


def number_in(file: Path) -> int:
    """Integer in a kernel file.

    Raises:
        OSError: The file cannot be read.
        ValueError: Its content is not an integer.
    """
    return int(file.read_text(encoding="ascii", errors="replace").strip())


def text_in(file: Path) -> str:
    """Text of a kernel file; empty if it cannot be read."""
    try:
        return file.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
