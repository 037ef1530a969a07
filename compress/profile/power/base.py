"""Interface of power sensors."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol


class Sensor(Protocol):
    """One source of power or energy readings.

    A sensor that fails while it reads raises `DeviceError`, `OSError` or `ValueError`; the power then counts as
    not measured.

    Attributes:
        name: For people, such as `RAPL`.
        counts: `read` returns joules that only grow; otherwise the present power in watts.
        rate_hz: Readings per second.
        shortest_s: Shortest observation with a meaningful result.
    """

    name: str
    counts: bool
    rate_hz: float
    shortest_s: float

    def available(self) -> str | None:
        """None when it can be read, else the exact reason why not."""

    def measures(self) -> str:
        """Part of the machine that it measures, for people; valid after `available` returned None."""

    def start(self) -> None:
        """Open the source of the readings."""

    def read(self) -> float:
        """Watts, or joules since an arbitrary time."""

    def stop(self) -> None:
        """Free everything; no effect when it was never started."""


def number_in(file: Path) -> int:
    """Integer in a kernel file.

    Raises:
        OSError: It cannot be read.
        ValueError: It holds no integer.
    """
    return int(file.read_text(encoding="ascii", errors="replace").strip())


def text_in(file: Path) -> str:
    """Text of a kernel file; empty where it cannot be read."""
    try:
        return file.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
