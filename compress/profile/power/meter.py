"""Power and energy of inferences, measured with the first sensor that works: first idle, then each model without pause.

    P = mean power while running           E = (P − P_idle) × elapsed / (inferences × batch)

Idle power is reported and subtracted: the energy is the increase that an inference causes on a running machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from compress.backends.runner_protocol import Array
from compress.core.bootstrap import bootstrap_interval
from compress.core.language import gettext, joined
from compress.core.record import Metrics, Quantity
from compress.profile.power.base import Sensor
from compress.profile.power.sampler import PowerTrace, sampled

RESAMPLES = 2000
UNITS = {"power_w": "W", "idle_w": "W", "energy_j": "J"}


@dataclass(frozen=True)
class _Busy:
    """Readings while one model runs, number of inferences and duration (s)."""

    trace: PowerTrace
    runs: int
    elapsed: float


def measure(
    actions: Mapping[str, Callable[[], object]], sensors: Sequence[Sensor], *, seconds: float = 1.0, batch: int = 1
) -> dict[str, Metrics]:
    """Power and energy of callables, with the first sensor that works.

    Args:
        actions: Callables by name; each call runs one inference and waits for its end.
        sensors: Sensors in order of preference.
        seconds: Observation time of idle and of each action; longer if the sensor requires it.
        batch: Samples per inference; energy is reported per sample.

    Returns:
        By name `power_w` (idle included), `idle_w` and `energy_j` (idle subtracted); missing with the reasons of all sensors if
        no sensor works or the sensor fails.
    """
    sensor, idle, reasons = _first_working(sensors, seconds)
    if sensor is None or idle is None:
        return dict.fromkeys(actions, _missing(reasons or gettext("the device profile names no power sensor")))
    length = max(seconds, sensor.shortest_s)
    return {name: _quantities(idle, _run(action, sensor, length), batch) for name, action in actions.items()}


def _first_working(sensors: Sequence[Sensor], seconds: float) -> tuple[Sensor | None, PowerTrace | None, str]:
    """The first sensor that works and its readings at idle; else None, None and why each sensor does not work."""
    reasons = []
    for sensor in sensors:
        reason = sensor.available()
        if reason is None:
            with sampled(sensor) as idle:
                time.sleep(max(seconds, sensor.shortest_s))
            reason = idle.fault()
            if reason is None:
                return sensor, idle, ""
        reasons.append(gettext("{sensor}: {reason}", sensor=gettext(sensor.name), reason=reason))
    return None, None, joined(reasons)


def _run(action: Callable[[], object], sensor: Sensor, seconds: float) -> _Busy:
    action()
    with sampled(sensor) as trace:
        start, runs = time.perf_counter(), 0
        while time.perf_counter() - start < seconds or runs == 0:
            action()
            runs += 1
        elapsed = time.perf_counter() - start
    return _Busy(trace, runs, elapsed)


def _quantities(idle: PowerTrace, busy: _Busy, batch: int) -> Metrics:
    sensor = busy.trace.sensor
    if reason := busy.trace.fault():
        return _missing(gettext("{sensor}: {reason}", sensor=gettext(sensor.name), reason=reason))
    method = gettext("energy counter") if sensor.counts else gettext("present power")
    how = gettext(
        "{name}, {measures}; {method}, read {rate_hz:g} times per second",
        name=gettext(sensor.name),
        measures=sensor.measures(),
        method=method,
        rate_hz=sensor.rate_hz,
    )
    above, low, high = above_idle(busy.trace, idle)
    seconds_per_sample = busy.elapsed / busy.runs / batch
    note = gettext("; not distinguishable from idle") if low <= 0 else ""
    return {
        "power_w": _power(
            busy.trace,
            gettext(
                "{how}, over {elapsed:.1f} s of inferences without pause, idle power included", how=how, elapsed=busy.elapsed
            ),
        ),
        "idle_w": _power(
            idle,
            gettext("{how}, over {elapsed:.1f} s with the models loaded and nothing running", how=how, elapsed=idle.elapsed),
        ),
        "energy_j": Quantity.measured(
            above * seconds_per_sample,
            "J",
            gettext(
                "{how}; idle energy of {mean:.3g} J per sample subtracted{note}",
                how=how,
                mean=idle.mean() * seconds_per_sample,
                note=note,
            ),
            interval=(low * seconds_per_sample, high * seconds_per_sample),
            runs=busy.runs,
        ),
    }


def above_idle(busy: PowerTrace, idle: PowerTrace) -> tuple[float, float, float]:
    """Mean power above idle and its 95 % interval (low, high), W, by a bootstrap of the block means of both traces."""
    generator = np.random.default_rng(0)

    def resampled_means(blocks: Array) -> Array:
        means: Array = generator.choice(blocks, (RESAMPLES, len(blocks))).mean(axis=1)
        return means

    low, high = np.quantile(resampled_means(busy.blocks()) - resampled_means(idle.blocks()), (0.025, 0.975))
    above = busy.mean() - idle.mean()
    return above, min(float(low), above), max(float(high), above)


def _power(trace: PowerTrace, detail: str) -> Quantity:
    mean = trace.mean()
    low, high = bootstrap_interval(trace.blocks())
    return Quantity.measured(mean, "W", detail, interval=(min(low, mean), max(high, mean)), runs=len(trace.values))


def _missing(reason: str) -> Metrics:
    return {name: Quantity.missing(unit, reason) for name, unit in UNITS.items()}
