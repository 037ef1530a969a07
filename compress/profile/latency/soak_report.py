"""Results of a soak test: drift, throttling, leaks and outliers, as quantities, curves and facts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.record import Curve, Metrics, Quantity
from compress.core.statistics import wilson
from compress.profile.latency.theil_sen import theil_sen

NOTABLE = 0.02
"""Smallest drift of the latency that gives a warning, as a fraction."""
LEAK_BYTES = 1_000_000
"""Smallest growth of resident memory that gives a warning, bytes."""
THROTTLED = 0.95
"""Fraction of the initial clock below which a processor counts as throttled."""


@dataclass(frozen=True)
class SoakWindow:
    """One window of a soak test.

    Attributes:
        second: End of the window, in seconds from the start of the test.
        runs: Number of inferences.
        median_ms: Median latency.
        slowest_ms: Largest latency.
        outliers: Number of runs far slower than the others of this window.
        resident_bytes: Resident memory of the process at the end of the window.
        clock_mhz: Clock of the fastest processor at the end of the window; None where it cannot be read.
        temperature_c: Temperature of the hottest sensor at the end of the window; None where there is no sensor.
    """

    second: float
    runs: int
    median_ms: float
    slowest_ms: float
    outliers: int
    resident_bytes: int
    clock_mhz: float | None = None
    temperature_c: float | None = None


@dataclass(frozen=True)
class Soak:
    """Results of a soak test.

    Attributes:
        windows: Windows in order, at least one.
        throttles: Throttling events of the processors during the test; None where they are not counted.
        missing: Reasons for missing readings, by `clock`, `temperature`, `throttles`.
        where: Machine and settings.
    """

    windows: tuple[SoakWindow, ...]
    throttles: int | None
    missing: dict[str, str]
    where: str

    @property
    def seconds(self) -> float:
        """Duration of the test."""
        return self.windows[-1].second

    @property
    def runs(self) -> int:
        """Number of inferences."""
        return sum(window.runs for window in self.windows)

    def tenths(self) -> tuple[SoakWindow, ...]:
        """Up to ten equally spaced windows, the first and the last included."""
        indices = np.unique(np.linspace(0, len(self.windows) - 1, min(10, len(self.windows))).astype(int))
        return tuple(self.windows[int(index)] for index in indices)

    def quantities(self) -> Metrics:
        """Metrics by name: `soak_latency_drift`, `soak_memory_growth`, `soak_outliers`, `soak_latency_max_ms`, and sensors."""
        how = gettext(
            "{where}, {runs} runs in {seconds:.0f} s without pause", where=self.where, runs=self.runs, seconds=self.seconds
        )
        outliers = sum(window.outliers for window in self.windows)
        slowest = max(window.slowest_ms for window in self.windows)
        return {
            "soak_latency_drift": self._drift(how),
            "soak_memory_growth": self._growth(how),
            "soak_outliers": Quantity.measured(
                outliers / self.runs,
                "fraction",
                gettext("{outliers} runs beyond q75 + 3 (q75 − q25) of their window; {how}", outliers=outliers, how=how),
                interval=wilson(outliers, self.runs),
                runs=self.runs,
            ),
            "soak_latency_max_ms": Quantity.measured(
                slowest, "ms", gettext("slowest of all runs; {how}", how=how), runs=self.runs
            ),
            **self._sensors(how),
        }

    def _drift(self, how: str) -> Quantity:
        """Change of the latency from start to end as a fraction of its median."""
        trend = self._trend([window.median_ms for window in self.windows])
        if trend is None:
            return Quantity.missing(
                "fraction", gettext("{count} windows are too few for a slope; run a longer soak test", count=len(self.windows))
            )
        typical = float(np.median([window.median_ms for window in self.windows]))
        slope, low, high = (value * self.seconds / typical for value in trend)
        detail = gettext(
            "Theil–Sen slope × duration ÷ median, {trend:+.4g} ms per minute at {typical:.4g} ms; {how}",
            trend=trend[0] * 60,
            typical=typical,
            how=how,
        )
        return Quantity.measured(slope, "fraction", detail, interval=(low, high), runs=len(self.windows))

    def _growth(self, how: str) -> Quantity:
        """Growth of the resident memory, bytes per minute."""
        trend = self._trend([window.resident_bytes for window in self.windows])
        if trend is None:
            return Quantity.missing(
                "bytes/min", gettext("{count} windows are too few for a slope; run a longer soak test", count=len(self.windows))
            )
        slope, low, high = (value * 60 for value in trend)
        bytes_per_run = trend[0] * self.seconds / self.runs
        detail = gettext(
            "Theil–Sen slope of the resident memory, {bytes_per_run:.3g} bytes per run; {how}",
            bytes_per_run=bytes_per_run,
            how=how,
        )
        return Quantity.measured(slope, "bytes/min", detail, interval=(low, high), runs=len(self.windows))

    def _sensors(self, how: str) -> Metrics:
        """Lowest clock, highest temperature and throttling events."""
        quantities: Metrics = {}
        for name, key, unit, series in (
            ("soak_clock_lowest", "clock", "MHz", [window.clock_mhz for window in self.windows]),
            ("soak_temperature_highest", "temperature", "°C", [window.temperature_c for window in self.windows]),
        ):
            readings = [value for value in series if value is not None]
            if not readings:
                quantities[name] = Quantity.missing(unit, self.missing.get(key, gettext("it could not be read")))
                continue
            value = min(readings) if key == "clock" else max(readings)
            detail = gettext(
                "from {min:.0f} to {readings:.0f} {unit}; {how}", min=min(readings), readings=max(readings), unit=unit, how=how
            )
            quantities[name] = Quantity.measured(value, unit, detail, runs=len(readings))
        if self.throttles is None:
            quantities["soak_throttles"] = Quantity.missing("1", self.missing.get("throttles", gettext("it is not counted")))
        else:
            quantities["soak_throttles"] = Quantity.measured(
                self.throttles, "1", gettext("counted by the processors; {how}", how=how)
            )
        return quantities

    def _trend(self, series: list[float] | list[int]) -> tuple[float, float, float] | None:
        return theil_sen([window.second for window in self.windows], series)

    def curves(self) -> dict[str, Curve]:
        """Latency, resident memory and, where they can be read, clock and temperature over time."""
        series: dict[str, tuple[str, list[float | None]]] = {
            "soak_latency": ("median latency in ms", [window.median_ms for window in self.windows]),
            "soak_memory": ("resident memory in MB", [window.resident_bytes / 1e6 for window in self.windows]),
            "soak_clock": ("clock in MHz", [window.clock_mhz for window in self.windows]),
            "soak_temperature": ("temperature in °C", [window.temperature_c for window in self.windows]),
        }
        x = tuple(window.second for window in self.windows)
        return {
            name: Curve(x_label="seconds", y_label=label, x=x, y=tuple(y))
            for name, (label, y) in series.items()
            if any(value is not None for value in y)
        }

    def notes(self, subject: str = "") -> tuple[Fact, ...]:
        """Facts on drift, throttling and leaks.

        Args:
            subject: Name of the file, if several are tested.
        """
        quantities = self.quantities()
        return (
            self._drift_note(quantities["soak_latency_drift"], subject),
            self._throttle_note(subject),
            self._leak_note(quantities["soak_memory_growth"], subject),
        )

    def _drift_note(self, drift: Quantity, subject: str) -> Fact:
        if drift.value is None or drift.low is None or drift.high is None:
            return Fact.of("profile.soak_drift_unknown", subject, reason=drift.detail)
        values = {"drift": drift.value, "low": drift.low, "high": drift.high, "seconds": self.seconds}
        if drift.low <= 0 <= drift.high:
            return Fact.of("profile.soak_no_drift", subject, **values)
        if abs(drift.value) <= NOTABLE:
            return Fact.of("profile.soak_steady", subject, **values)
        if drift.value > 0:
            return Fact.of("profile.soak_drifts_upwards", subject, **values)
        return Fact.of("profile.soak_got_faster", subject, **values)

    def _throttle_note(self, subject: str) -> Fact:
        clocks = [window.clock_mhz for window in self.windows if window.clock_mhz is not None]
        is_slower = bool(clocks) and min(clocks) < THROTTLED * clocks[0]
        if self.throttles or is_slower:
            return Fact.of(
                "profile.soak_throttled",
                subject,
                throttles=self.throttles,
                first_mhz=clocks[0] if is_slower else None,
                lowest_mhz=min(clocks) if is_slower else None,
            )
        if unread := tuple(self.missing[name] for name in ("clock", "temperature") if name in self.missing):
            return Fact.of("profile.soak_throttling_from_latency", subject, reasons=unread)
        return Fact.of("profile.soak_not_throttled", subject)

    def _leak_note(self, growth: Quantity, subject: str) -> Fact:
        if growth.value is None or growth.low is None:
            return Fact.of("profile.soak_leak_unknown", subject, reason=growth.detail)
        total = growth.value * self.seconds / 60
        if growth.low > 0 and total > LEAK_BYTES:
            return Fact.of("profile.soak_leak", subject, megabytes=total / 1e6, seconds=self.seconds)
        return Fact.of("profile.soak_no_leak", subject, megabytes=total / 1e6, seconds=self.seconds)
