"""What every power sensor offers: whether it is there, a start, readings, a stop."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol


class Sensor(Protocol):
    """One source of power or energy readings.

    A sensor that fails while it reads raises `DeviceError`, `OSError` or `ValueError`; what was to be measured then counts as
    not measured.

    Attributes:
        name: In words, `RAPL`.
        counts: `read` gives joules that only grow; otherwise watts of the moment.
        rate_hz: How often a reading is worth taking.
        shortest_s: Time under which its readings tell nothing.
    """

    name: str
    counts: bool
    rate_hz: float
    shortest_s: float

    def available(self) -> str | None:
        """None when it can be read, else the exact reason why not."""

    def measures(self) -> str:
        """What its figure covers, in words; after `available` gave None."""

    def start(self) -> None:
        """Take what readings need."""

    def read(self) -> float:
        """Watts, or joules since some moment."""

    def stop(self) -> None:
        """Free everything; harmless when it was never started."""


def number_in(file: Path) -> int:
    """The whole number that a kernel file holds.

    Raises:
        OSError: It cannot be read.
        ValueError: It holds something else.
    """
    return int(file.read_text(encoding="ascii", errors="replace").strip())


def text_in(file: Path) -> str:
    """What a kernel file says; empty where it cannot be read."""
    try:
        return file.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
