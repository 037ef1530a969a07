"""Soak test: run one model without pause for minutes and look for drift, throttling, leaks and outliers.

The test has up to 120 windows. Each records the median latency, and resident memory, clock and temperature at its end. Drift
and memory growth are Theil–Sen slopes over the windows. An outlier is a run beyond q75 + 3 (q75 − q25) of its own window ("far
out", Tukey 1977, "Exploratory data analysis"), so that drift does not count as outliers.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from compress.backends.open_runner import open_runner
from compress.backends.runner_protocol import Feeds, zero_feeds
from compress.core.counted import threads_text
from compress.core.errors import DeviceError
from compress.core.language import gettext
from compress.core.progress import NullReporter, Reporter
from compress.profile.latency.interleave import warm_up
from compress.profile.latency.machine_sensors import MachineSensors
from compress.profile.latency.soak_report import Soak, SoakWindow

MAX_WINDOWS = 120
MIN_WINDOWS = 12
MIN_RUNS = 12
"""Fewest runs of a window in which outliers are counted."""
CAPACITY = 500_000
"""Most runs per window; their memory is allocated before the test, so that it does not count as growth."""


def soak(
    action: Callable[[], object],
    seconds: float,
    *,
    where: str = "this machine",
    sensors: MachineSensors | None = None,
    resident: Callable[[], int] | None = None,
    reporter: Reporter | None = None,
) -> Soak:
    """Run without pause and record latency, memory and sensors.

    Args:
        action: Runs one inference and waits for its end.
        seconds: Duration after a warm-up.
        where: Machine and settings, for the record.
        sensors: Sensors for clock, temperature and throttling; those of this machine by default.
        resident: Returns resident bytes; those of this process by default.
        reporter: Shows a progress bar.

    Raises:
        DeviceError: `seconds` is not positive.
    """
    if not seconds > 0:
        msg = gettext("the duration of a soak test must be more than 0 s, got {seconds:g} s", seconds=seconds)
        raise DeviceError(msg)
    sensors, memory = sensors or MachineSensors(), resident or _resident()
    count = int(np.clip(seconds, MIN_WINDOWS, MAX_WINDOWS))
    times = np.ones(CAPACITY)
    warm_up(action, seconds=min(1.0, seconds / 10))
    throttled, windows = sensors.throttles(), []
    start, elapsed = time.perf_counter(), 0.0
    with (reporter or NullReporter()).bar("soaking", count) as bar:
        while elapsed < seconds:
            end = int(elapsed * count / seconds) + 1
            runs = _fill(action, times, start + seconds * end / count)
            elapsed = time.perf_counter() - start
            windows.append(_window(times[:runs], elapsed, memory(), sensors))
            bar.advance(
                int(elapsed * count / seconds) + 1 - end, note=gettext("{median_ms:.3f} ms", median_ms=windows[-1].median_ms)
            )
    after = sensors.throttles()
    throttles = None if throttled is None or after is None else after - throttled
    return Soak(tuple(windows), throttles, sensors.missing(), where)


def soak_file(
    path: Path,
    seconds: float,
    *,
    feeds: Feeds | None = None,
    threads: int = 1,
    reporter: Reporter | None = None,
    runtime: str = "onnxruntime",
) -> Soak:
    """Run a soak test of one ONNX file on this machine; see `soak`.

    Args:
        path: ONNX file.
        seconds: Duration.
        feeds: Inputs; None feeds zeros.
        threads: Threads within an operator.
        reporter: Shows a progress bar.
        runtime: Name of the runtime as in a device profile.

    Raises:
        ConversionError: The file cannot be loaded or run.
        DeviceError: Its input shapes are not known, or `seconds` is not positive.
    """
    with open_runner(runtime, path, threads=threads) as runner:
        inputs = feeds or zero_feeds(runner)
        where = gettext("{runtime}, {threads}", runtime=runner.describe()["runtime"], threads=threads_text(threads))
        return soak(lambda: runner.run(inputs), seconds, where=where, reporter=reporter)


def _fill(action: Callable[[], object], times: np.ndarray, until: float) -> int:
    """Run until the time `until`, write the latencies (ms) into `times`, and return the number of runs."""
    runs = 0
    while runs < len(times):
        before = time.perf_counter()
        action()
        now = time.perf_counter()
        times[runs] = (now - before) * 1000
        runs += 1
        if now >= until:
            break
    return runs


def _window(times: np.ndarray, second: float, resident: int, sensors: MachineSensors) -> SoakWindow:
    low, median, high = np.quantile(times, (0.25, 0.5, 0.75))
    outliers = int((times > high + 3 * (high - low)).sum()) if len(times) >= MIN_RUNS else 0
    clock, temperature = sensors.clock_mhz(), sensors.temperature_c()
    return SoakWindow(second, len(times), float(median), float(times.max()), outliers, resident, clock, temperature)


def _resident() -> Callable[[], int]:
    import psutil

    process = psutil.Process()
    return lambda: int(process.memory_info().rss)
