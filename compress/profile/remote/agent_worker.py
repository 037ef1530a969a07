"""Worker of the agent on the device: a process that runs one order and sends one result.

Jobs: `inspect` (report versions and sensors), `onnxruntime` and `tensorrt` (measure files in turns). Messages: `progress`, then
`result`, or `error` with a kind: `no runtime`, `no package` (of another runtime), `no trtexec`, `refused` (the runtime rejects
the model), `disk full`, `failed`.
When the server dies, the worker's standard input ends: the worker then removes the folder and kills its own process group.
"""

from __future__ import annotations

import base64
import importlib
import io
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.core.errors import CompressError, MissingPackageError
from compress.profile.remote.agent_bootstrap import FULL, say
from compress.profile.remote.agent_sensors import clocks
from compress.profile.remote.trtexec import NoTrtexec, Refused, find_trtexec, version

if TYPE_CHECKING:
    from compress.backends.runner_protocol import Array, Runner
    from compress.profile.latency.interleave import Samples
    from compress.profile.remote.messages import (
        FileResult,
        FootprintFields,
        InspectionReport,
        InspectOrder,
        Measurements,
        NotMeasured,
        OnnxruntimeOrder,
        PowerSensor,
        Series,
        TrtexecOrder,
    )

ONNXRUNTIME = "compress.backends.onnxruntime_runner:OnnxRuntimeRunner"
MEMORY_RUNS = 8
MEMORY_TIMEOUT_S = 600
NO_SPACE = ("No space left on device", "File too large", "Disk quota exceeded")
"""Error messages of the runtime on a full disk."""
REPORT_S = 1.0
"""Shortest time between two progress messages, each of which wakes other processes."""


class NoPackage(Exception):  # noqa: N818
    """The package of a runtime is not installed.

    Args:
        package: Its name.
        text: Error of the import.
    """

    def __init__(self, package: str, text: str) -> None:
        super().__init__(text)
        self.package = package


def main() -> None:
    """Read the order, run the job, send the result."""
    order = json.loads(open(0, "rb", buffering=0, closefd=False).readline())  # noqa: SIM115
    threading.Thread(target=_follow_server, args=(Path.cwd(),), daemon=True).start()
    try:
        if order["job"] == "inspect":
            say(result=inspect(order))
        else:
            say(result=tensorrt(order) if order["job"] == "tensorrt" else onnxruntime(order))
    except ImportError as error:
        say(error="no runtime", text=f"{error} ({sys.executable})")
    except NoPackage as error:
        say(error="no package", text=str(error), package=error.package)
    except NoTrtexec as error:
        say(error="no trtexec", text=str(error))
    except (Refused, CompressError) as error:
        say(error="disk full" if any(mark in str(error) for mark in NO_SPACE) else "refused", text=str(error))
    except OSError as error:
        if error.errno not in FULL:
            raise
        say(error="disk full", text=f"{error.strerror}: {error.filename or Path.cwd()}")
    except MemoryError as error:
        say(error="failed", text=f"out of memory on the device ({error})")


def inspect(order: InspectOrder) -> InspectionReport:
    """Versions of the installed runtimes or the reason why there is none, and clocks and sensors."""
    sensor = power_sensors(order["sensors"])
    report: InspectionReport = {
        "clocks": clocks(),
        "platform": platform.platform(),
        "power": sensor["power"],
        "no_power": sensor["no_power"],
    }
    try:
        import numpy as np
        import onnxruntime as ort

        report["numpy"], report["onnxruntime"] = np.__version__, ort.__version__
        report["providers"] = ort.get_available_providers()
    except ImportError as error:
        report["no_onnxruntime"] = f"{error} ({sys.executable})"
    try:
        path = find_trtexec(order["trtexec"])
        report["trtexec"], report["tensorrt"] = path, version(path)
    except (NoTrtexec, Refused) as error:
        report["no_trtexec"] = str(error)
    return report


def onnxruntime(order: OnnxruntimeOrder) -> Measurements:
    """Time files in turns with the code of local measurements, then measure power and memory.

    Args:
        order: `files` and `feeds` by subject (`feeds` None feeds zeros), `batch`, `threads`, `seconds`, `warmup_seconds`,
            `min_runs`, `affinity`, `power_seconds`, `sensors`, `arrivals_per_s`, `arrival_seconds`.

    Returns:
        `files` (by subject: `milliseconds`, `rounds`, `warmup`, `arrivals`, `settings`, `power`, `memory`), `processor_share`
        and `clocks`.
    """
    from compress.backends.runner_protocol import feed_shapes, pinned, reload
    from compress.profile import power
    from compress.profile.latency.arrival import time_arrivals
    from compress.profile.latency.interleave import TimingPlan, interleave

    before = clocks()
    with ExitStack() as stack:
        stack.enter_context(pinned(order["affinity"]))
        runners, load_ms = {}, {}
        for name in order["files"]:
            start = time.perf_counter()
            runners[name] = _open(order, name, stack)
            load_ms[name] = 1000 * (time.perf_counter() - start)
        feeds = {name: _feeds(runner, name, order) for name, runner in runners.items()}
        actions = {name: _action(runner, feeds[name]) for name, runner in runners.items()}
        for action in actions.values():
            action()
        outputs = {name: _outputs(runner, order.get("compare", {}).get(name, [])) for name, runner in runners.items()}
        wall, processor = time.perf_counter(), time.process_time()
        samples = interleave(
            actions,
            TimingPlan(order["seconds"], order["warmup_seconds"], order["min_runs"]),
            after_round=Progress(),
            renew=lambda part: reload(runners.values(), part),
        )
        share = (time.process_time() - processor) / (time.perf_counter() - wall)
        after = clocks()
        arrivals = time_arrivals(actions, rate_hz=order["arrivals_per_s"], seconds=order["arrival_seconds"])
        powers = power.measure(
            actions, power.open_sensors(order["sensors"]), seconds=order["power_seconds"], batch=order["batch"]
        )
        settings = {name: runner.describe() for name, runner in runners.items()}
    files: dict[str, FileResult] = {
        name: {
            **_series(times),
            "settings": settings[name],
            "arrivals": {pattern: _series(others[name]) for pattern, others in arrivals.items()},
            "power": {key: vars(quantity) for key, quantity in powers[name].items()},
            "memory": _memory_of(order, name, feed_shapes(feeds[name])),
            "load_ms": load_ms[name],
            "outputs": outputs[name],
        }
        for name, times in samples.items()
    }
    return {"files": files, "processor_share": share, "clocks": {"before": before, "after": after}}


def tensorrt(order: TrtexecOrder) -> Measurements:
    """Build an engine of each file on this device and time the engines in turns with `trtexec`."""
    from compress.profile.remote.trtexec import measure

    before = clocks()
    files = measure(order, Progress())
    return {"files": files, "processor_share": 1.0, "clocks": {"before": before, "after": clocks()}}


def power_sensors(targets: Sequence[str]) -> PowerSensor:
    """`power`: the first sensor that can be read and what it measures; `no_power`: why there is none."""
    try:
        from compress.profile import power
    except ImportError as error:
        return {"power": "", "no_power": f"{error} ({sys.executable})"}
    sensor, reason = power.first_available(power.open_sensors(targets))
    if sensor is None:
        return {"power": "", "no_power": reason}
    scope = sensor.measures()
    sensor.stop()
    return {"power": f"{sensor.name}, {scope}", "no_power": ""}


def memory(path: str, shapes: Mapping[str, object], threads: int) -> FootprintFields | NotMeasured:
    """Memory of a new process that loads and runs the file, see `memory.Footprint`; or the `reason` why it is unknown."""
    probe = [path, str(threads), str(MEMORY_RUNS), json.dumps(shapes), "CPUExecutionProvider"]
    command = [sys.executable, sys.path[0], "memory", *probe]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=MEMORY_TIMEOUT_S, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        return {"reason": f"{MEMORY_RUNS} runs took longer than {MEMORY_TIMEOUT_S} s"}
    if done.returncode != 0:
        why = "it was killed, probably because memory ran out" if done.returncode < 0 else done.stderr.strip()[-300:]
        return {"reason": f"the process that ran it ended with {done.returncode}; {why}"}
    footprint: FootprintFields = json.loads(done.stdout.splitlines()[-1])
    return footprint


class Progress:
    """Sends the fraction done, at most once per `REPORT_S`."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def __call__(self, fraction: float) -> None:
        """Send the fraction, unless the last message is too recent."""
        if time.monotonic() - self._last >= REPORT_S:
            self._last = time.monotonic()
            say(progress=round(fraction, 3))


def _open(order: OnnxruntimeOrder, name: str, stack: ExitStack) -> Any:
    """Load the file of a subject in its runtime.

    Raises:
        MissingPackageError: The runtime is not installed; the message is that of the import.
    """
    module, _, kind = order.get("runners", {}).get(name, ONNXRUNTIME).partition(":")
    try:
        runner = getattr(importlib.import_module(module), kind)
        return stack.enter_context(runner(Path(order["files"][name]), threads=order["threads"]))
    except (ImportError, MissingPackageError) as error:
        package = order.get("packages", {}).get(name)
        if package is None:
            raise
        raise NoPackage(package, f"{error.__cause__ or error} ({sys.executable})") from error


def _outputs(runner: Runner, batches: Sequence[Mapping[str, str]]) -> list[list[str]]:
    """Outputs of each batch, .npy files as base64."""
    import numpy as np

    found = []
    for batch in batches:
        texts = []
        for array in runner.run({name: np.load(path) for name, path in batch.items()}):
            data = io.BytesIO()
            np.save(data, array)
            texts.append(base64.b64encode(data.getvalue()).decode())
        found.append(texts)
    return found


def _memory_of(order: OnnxruntimeOrder, name: str, shapes: Mapping[str, object]) -> FootprintFields | NotMeasured:
    """Memory of a subject's file; of other runtimes than ONNX Runtime it is not measured."""
    if order.get("runners", {}).get(name, ONNXRUNTIME) != ONNXRUNTIME:
        return {"reason": "memory of this runtime is not measured over SSH"}
    return memory(order["files"][name], shapes, order["threads"])


def _feeds(runner: Any, name: str, order: OnnxruntimeOrder) -> dict[str, Array]:
    """Inputs of a subject: files of the order, or zeros."""
    import numpy as np

    if order["feeds"] is None:
        return dict(runner.sample(order["batch"]))
    return {key: np.load(path) for key, path in order["feeds"][name].items()}


def _series(samples: Samples) -> Series:
    return {
        "milliseconds": samples.milliseconds.tolist(),
        "rounds": samples.rounds.tolist(),
        "warmup": {"runs": samples.warmup.runs, "seconds": samples.warmup.seconds, "steady": samples.warmup.steady},
    }


def _action(runner: Runner, feeds: Mapping[str, Array]) -> Callable[[], object]:
    return lambda: runner.run(feeds)


def _follow_server(folder: Path) -> None:
    """Wait until the server ends, then remove the folder and kill this process group."""
    while os.read(0, 1):
        pass
    shutil.rmtree(folder, ignore_errors=True)
    os.killpg(0, signal.SIGKILL)
