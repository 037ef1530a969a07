"""Run `trtexec` on the device: build an engine of each file, time the engines in turns, read its JSON.

The order contains the arguments, one list for building and one for timing. Written for the documented behaviour of TensorRT 10
and 11; no test of this package runs the real program.
"""

from __future__ import annotations

import json
import re
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from compress.core.language import gettext

if TYPE_CHECKING:
    from compress.core.record import Metrics
    from compress.profile.power.base import Sensor
    from compress.profile.remote.messages import FileResult, QuantityFields, Series, TrtexecOrder

USUAL = ("/usr/src/tensorrt/bin/trtexec", "/usr/local/tensorrt/bin/trtexec", "/opt/tensorrt/bin/trtexec")
OLDEST = 10
"""First major version of TensorRT whose trtexec supports strongly typed networks."""
ROUNDS = 6
"""Turns of each engine; an interval of the ratio of medians needs six."""
TAIL_LINES = 12
POWER_UNITS = {"power_w": "W", "idle_w": "W", "energy_j": "J"}


class NoTrtexec(Exception):  # noqa: N818
    """trtexec is not installed."""


class Refused(Exception):  # noqa: N818
    """trtexec rejects a model or its options."""


def find_trtexec(path: str | None) -> str:
    """Path of the program.

    Args:
        path: Path in the profile; None searches PATH and the usual folders.

    Raises:
        NoTrtexec: It does not exist.
    """
    candidates = (str(Path(path).expanduser()),) if path else ("trtexec", *USUAL)
    program = next((executable for candidate in candidates if (executable := shutil.which(candidate))), None)
    if program is None:
        msg = gettext("looked for {candidates}", candidates=", ".join(candidates))
        raise NoTrtexec(msg)
    return program


def version(path: str) -> str:
    """Version of TensorRT, such as `10.13.0`, from the output `[TensorRT v101300]` or `[TensorRT v8502]`.

    Raises:
        Refused: The program does not start.
    """
    text = _run([path, "--help"], Path.cwd(), allowed=(0, 1))
    match = re.search(r"TensorRT v(\d+)", text)
    if match is None:
        return "of unknown version"
    number = int(match[1])
    if number < 10000:  # 8.x and 9.x: one digit for the minor version, two for the patch
        return f"{number // 1000}.{number // 100 % 10}.{number % 100}"
    return f"{number // 10000}.{number // 100 % 100}.{number % 100}"


def measure(order: TrtexecOrder, progress: Callable[[float], None]) -> dict[str, FileResult]:
    """Build the engines, then time them in turns.

    Args:
        order: Arguments of trtexec by subject in `build` and `time`; `trtexec`, `sensors`, `arrivals_per_s`, `power_seconds`,
            `batch`.
        progress: Called with the fraction done.

    Returns:
        By subject the fields of `agent_worker.onnxruntime`.

    Raises:
        NoTrtexec: trtexec is not installed.
        Refused: trtexec is too old or rejects a model.
    """
    path = find_trtexec(order["trtexec"])
    release = version(path)
    if release[0].isdigit() and int(release.split(".")[0]) < OLDEST:
        msg = gettext(
            "TensorRT {release} at {path} is too old: strongly typed networks through trtexec need {oldest}.0",
            release=release,
            path=path,
            oldest=OLDEST,
        )
        raise Refused(msg)
    names, folder = list(order["build"]), Path.cwd()
    gpu = ""
    for index, name in enumerate(names):
        output = _run([path, *order["build"][name]], folder)
        if match := re.search(r"Selected Device: *([^\r\n]+)", output):
            gpu = match[1].strip()
        progress(0.5 * (index + 1) / len(names))
    times: dict[str, list[float]] = {name: [] for name in names}
    rounds: dict[str, list[int]] = {name: [] for name in names}
    warmups = dict.fromkeys(names, 0.0)
    for index in range(ROUNDS):
        for name in names[:: 1 if index % 2 == 0 else -1]:
            start = time.monotonic()
            trace = _run_times_ms(path, order["time"][name], folder)
            warmups[name] += max(0.0, time.monotonic() - start - sum(trace) / 1000)
            times[name] += trace
            rounds[name] += [index] * len(trace)
        progress(0.5 + 0.5 * (index + 1) / ROUNDS)
    periodic = {name: _periodic(path, order, name, statistics.median(times[name]), folder) for name in names}
    settings = {
        "runtime": f"TensorRT {release}",
        "provider": "trtexec, engine built on the device, latency of GPU compute without copies",
        "threads": "1",
        "precision": "strongly typed",
    } | ({"device": gpu} if gpu else {})
    powers = power({name: partial(_run_times_ms, path, order["time"][name], folder) for name in names}, order)
    return {
        name: {
            "milliseconds": times[name],
            "rounds": rounds[name],
            "warmup": {"runs": 0, "seconds": warmups[name], "steady": True},
            "settings": settings,
            "arrivals": {"periodic": periodic[name]},
            "power": powers[name],
            "memory": {"reason": gettext("trtexec does not report resident memory of a process")},
        }
        for name in names
    }


def _periodic(path: str, order: TrtexecOrder, name: str, median_ms: float, folder: Path) -> Series:
    """Another run with a pause between inferences, so that they start at the rate of the order."""
    pause_ms = max(0, round(1000 / order["arrivals_per_s"] - median_ms))
    trace = _run_times_ms(path, [*order["time"][name], f"--idleTime={pause_ms}"], folder)
    rounds = [0] * len(trace)
    return {"milliseconds": trace, "rounds": rounds, "warmup": {"runs": 0, "seconds": 0.0, "steady": True}}


def _run_times_ms(path: str, arguments: list[str], folder: Path) -> list[float]:
    _run([path, *arguments, "--exportTimes=times.json"], folder)
    trace = json.loads((folder / "times.json").read_text())
    return [float(run["computeMs"]) for run in trace]


def power(actions: Mapping[str, Callable[[], list[float]]], order: TrtexecOrder) -> dict[str, dict[str, QuantityFields]]:
    """Power and energy of each engine in another run of trtexec.

        E = (P − P_idle) × mean time of an inference ÷ batch

    Only the middle half of the run counts: at its ends trtexec loads and frees the engine.

    Args:
        actions: By name a function that runs `trtexec` and returns the times of its inferences, ms.
        order: `sensors`, `power_seconds`, `batch`.

    Returns:
        By name the fields of `power_w`, `idle_w` and `energy_j`; missing with the reason if no sensor works.
    """
    from compress.profile.power import first_available, open_sensors

    sensor, reason = first_available(open_sensors(order["sensors"]))
    metrics = program_power(actions, sensor, reason, order["power_seconds"], batch=order["batch"], program="trtexec")
    return {name: _plain(quantities) for name, quantities in metrics.items()}


def program_power(
    actions: Mapping[str, Callable[[], list[float]]],
    sensor: Sensor | None,
    reason: str,
    idle_seconds: float,
    *,
    batch: int,
    program: str,
) -> dict[str, Metrics]:
    """The quantities of `power` with one sensor.

    Args:
        actions: By name a function that runs the program and returns the times of its inferences, ms.
        sensor: Power sensor; None if there is none.
        reason: Why there is none.
        idle_seconds: Duration of the measurement at idle.
        batch: Samples per inference.
        program: Name of the program, for people.
    """
    from compress.core.record import Quantity
    from compress.profile.power.meter import above_idle
    from compress.profile.power.sampler import PowerTrace, sampled

    if sensor is None:
        reason = reason or gettext("no power sensor is named for this device")
        return {name: {key: Quantity.missing(unit, reason) for key, unit in POWER_UNITS.items()} for name in actions}
    with sampled(sensor) as idle:
        time.sleep(max(idle_seconds, sensor.shortest_s))
    measured: dict[str, Metrics] = {}
    for name, action in actions.items():
        with sampled(sensor) as whole:
            times = action()
        quarter = len(whole.values) // 4
        busy = PowerTrace(sensor, whole.seconds[quarter:-quarter], whole.values[quarter:-quarter], whole.failure)
        if fault := busy.fault() or idle.fault():
            measured[name] = {key: Quantity.missing(unit, f"{sensor.name}: {fault}") for key, unit in POWER_UNITS.items()}
            continue
        how = gettext(
            "{name}, {measures}, {rate_hz:g} readings per second, middle half of a run of {program}",
            name=sensor.name,
            measures=sensor.measures(),
            rate_hz=sensor.rate_hz,
            program=program,
        )
        above, low, high = above_idle(busy, idle)
        seconds_per_sample = sum(times) / len(times) / 1000 / batch
        measured[name] = {
            "power_w": Quantity.measured(
                busy.mean(), "W", gettext("{how}, idle power included", how=how), runs=len(busy.values)
            ),
            "idle_w": Quantity.measured(idle.mean(), "W", gettext("{how}; nothing running", how=how), runs=len(idle.values)),
            "energy_j": Quantity.measured(
                above * seconds_per_sample,
                "J",
                gettext("{how}; idle power subtracted", how=how),
                interval=(low * seconds_per_sample, high * seconds_per_sample),
                runs=len(times),
            ),
        }
    return measured


def _plain(metrics: Metrics) -> dict[str, QuantityFields]:
    return {name: vars(quantity) for name, quantity in metrics.items()}


def _run(command: list[str], folder: Path, allowed: tuple[int, ...] = (0,)) -> str:
    """Run a program and return its output.

    Raises:
        Refused: It failed; the message has its last error lines.
    """
    try:
        done = subprocess.run(  # noqa: S603
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
    except OSError as error:
        msg = gettext("{command} does not start: {strerror}", command=command[0], strerror=error.strerror)
        raise Refused(msg) from error
    text = done.stdout.decode(errors="replace")
    if done.returncode not in allowed:
        lines = [line for line in text.splitlines() if "[E]" in line] or text.splitlines()
        msg = gettext("{command} ended with {returncode}: ", command=command[0], returncode=done.returncode) + " | ".join(
            lines[-TAIL_LINES:]
        )
        raise Refused(msg)
    return text
