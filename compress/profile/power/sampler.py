"""Read a sensor at its rate from a thread while other code runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from compress.backends.runner_protocol import Array
from compress.core.errors import DeviceError
from compress.core.language import gettext
from compress.profile.power.base import Sensor

BLOCKS = 20
"""Number of block means resampled for an interval; they are less correlated than single readings."""
FEWEST = 3
"""Fewest readings of a valid measurement."""


@dataclass(eq=False)
class PowerTrace:
    """Readings of a sensor over one period.

    Attributes:
        sensor: The sensor.
        seconds: Time of each reading on a monotonic clock.
        values: Readings in watts, or in joules for an energy counter.
        failure: Why the readings ended early; else empty.
    """

    sensor: Sensor
    seconds: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    failure: str = ""

    @property
    def elapsed(self) -> float:
        """Time from the first to the last reading, s."""
        return self.seconds[-1] - self.seconds[0] if self.seconds else 0.0

    def fault(self) -> str | None:
        """Why the readings are not a valid measurement; None if they are."""
        if self.failure:
            return gettext(
                "it stopped after {elapsed:.1f} s of readings: {failure}", elapsed=self.elapsed, failure=self.failure
            )
        if len(self.values) < FEWEST:
            return gettext("it returned {count} readings, at least {fewest} are needed", count=len(self.values), fewest=FEWEST)
        watts = self.watts()
        if not np.isfinite(watts).all():
            return gettext("it returned readings that are not finite numbers")
        return gettext("it returned only zeros") if not watts.any() else None

    def watts(self) -> Array:
        """Power of each reading, W, (n,); for an energy counter between successive readings, (n − 1,)."""
        if not self.sensor.counts:
            return np.array(self.values)
        return np.diff(self.values) / np.maximum(np.diff(self.seconds), 1e-9)

    def blocks(self) -> Array:
        """Mean power of up to `BLOCKS` periods of equal length, W, (blocks,)."""
        if not self.sensor.counts:
            return np.array([part.mean() for part in np.array_split(self.watts(), min(BLOCKS, len(self.values)))])
        edges = np.unique(np.linspace(0, len(self.values) - 1, min(BLOCKS, len(self.values) - 1) + 1).astype(int))
        times, joules = np.array(self.seconds)[edges], np.array(self.values)[edges]
        blocks: Array = np.diff(joules) / np.maximum(np.diff(times), 1e-9)
        return blocks

    def mean(self) -> float:
        """Mean power, W."""
        if self.sensor.counts:
            return (self.values[-1] - self.values[0]) / self.elapsed
        return float(np.mean(self.values))


@contextmanager
def sampled(sensor: Sensor) -> Iterator[PowerTrace]:
    """Read a sensor while the block runs.

    Yields:
        The trace, complete after the block. If the sensor fails, the trace ends with the reason and the block continues.
    """
    trace, done = PowerTrace(sensor), threading.Event()

    def read() -> bool:
        try:
            value = sensor.read()
        except (DeviceError, OSError, ValueError) as error:
            trace.failure = str(error) or type(error).__name__
            return False
        trace.seconds.append(time.perf_counter())
        trace.values.append(value)
        return True

    def follow() -> None:
        while not done.wait(1 / sensor.rate_hz):
            if not read():
                return

    try:
        sensor.start()
        started = read()
    except (DeviceError, OSError, ValueError) as error:
        trace.failure, started = str(error), False
    thread = threading.Thread(target=follow, daemon=True)
    try:
        if started:
            thread.start()
        yield trace
    finally:
        done.set()
        if started:
            thread.join()
            if not trace.failure:
                read()
        sensor.stop()
