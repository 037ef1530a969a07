"""The rows of `compress benchmark` on a device over SSH, with the runtimes that it has installed.

Every file is first run alone, in a worker of its own on the device, so that one that crashes there is a row with its reason.
The others are then timed in turns by one worker. Conversions and reference outputs are made on this machine.
"""

from __future__ import annotations

import base64
import io
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from compress.backends.converted.convert import converter_of
from compress.backends.converted.sidecar import ENDING, network_files
from compress.backends.onnxruntime_runner import OnnxRuntimeRunner
from compress.backends.runner_protocol import Array
from compress.core.errors import CompressError
from compress.core.language import gettext, message_of
from compress.core.progress import Reporter
from compress.core.record import Quantity
from compress.core.registry import lookup
from compress.core.registry_entry import Entry
from compress.profile.benchmark_rows import ARRIVAL_SHARE
from compress.profile.fastest_runtime import compare_runtimes
from compress.profile.latency.timing import STEPS, Timing
from compress.profile.memory.memory import parts
from compress.profile.remote.measure import memory_quantities, timing_of
from compress.profile.remote.messages import FileResult, Measurements, OnnxruntimeOrder
from compress.profile.remote.session import RemoteSession
from compress.profile.remote.ssh import ssh_connection
from compress.profile.runtimes.compare import RuntimeComparison, RuntimeResult, finish
from compress.profile.runtimes.entrants import Entrant

TRIAL_SECONDS = 0.02
"""Timing of the trial of one file."""
QUANTITIES = ("load_ms", "memory_bytes", "memory_model_bytes")


def compare_over_ssh(entrants: Sequence[Entrant], request: RuntimeComparison, reporter: Reporter) -> tuple[RuntimeResult, ...]:
    """Measure entrants on a device; one that fails there has a reason, and the others are measured.

    Args:
        entrants: Files and runtimes.
        request: Settings, with the profile of the device; its check is not used.
        reporter: Shows progress.

    Raises:
        DeviceError: The device cannot be reached, or the connection is lost.
    """
    results = [RuntimeResult(entrant, reason=entrant.reason) for entrant in entrants]
    with RemoteSession(request.device) as remote, tempfile.TemporaryDirectory() as name:
        device = _Device(remote, request, Path(name))
        with reporter.bar(gettext("sending and trying on {name}", name=request.device.name), len(results)) as bar:
            for index, result in enumerate(results):
                if not result.reason:
                    device.try_alone(index, result)
                bar.advance(note=result.entrant.name)
        running = {index: result for index, result in enumerate(results) if not result.reason}
        timings = device.time(running, reporter) if running else {}
    finish(results, timings, request)
    return tuple(results)


class _Device:
    """Files on the device, and the orders for its workers."""

    def __init__(self, remote: RemoteSession, request: RuntimeComparison, folder: Path) -> None:
        self.remote = remote
        self.request = request
        self.folder = folder
        self._paths: dict[int, str] = {}
        self._batches: dict[str, list[dict[str, str]]] = {}
        self._expected: dict[Path, list[list[Array]]] = {}

    def try_alone(self, index: int, result: RuntimeResult) -> None:
        """Send a file, run it in a worker of its own, and compare its outputs."""
        entrant = result.entrant
        try:
            self._send(index, entrant)
            answer = self.remote.work(self._order({index: result}, trial=True), advance=lambda _: None)["files"][str(index)]
        except CompressError as error:
            if not self.remote.alive:
                raise
            result.reason = message_of(error)
            return
        found = [[_array(text) for text in batch] for batch in answer["outputs"]]
        result.agreement = compare_runtimes(self._reference(entrant), found)
        result.version = answer["settings"]["runtime"]
        result.quantities["size_bytes"] = Quantity.measured(
            entrant.size_bytes, "bytes", gettext("all files that the runtime loads")
        )
        self._add_memory(result, answer)

    def time(self, running: Mapping[int, RuntimeResult], reporter: Reporter) -> dict[str, Timing]:
        """Time all files in turns, and add latency and energy."""
        shown = 0
        with reporter.bar(gettext("measuring on {name}", name=self.request.device.name), STEPS) as bar:

            def show(fraction: float) -> None:
                nonlocal shown
                bar.advance(int(fraction * STEPS) - shown)
                shown = int(fraction * STEPS)

            answer = self.remote.work(self._order(running, trial=False), advance=show)
        timings = {}
        for index, result in running.items():
            timing = self._timing(str(index), answer)
            timings[result.entrant.name] = timing
            percentiles = timing.percentiles((50.0, 99.0))
            result.quantities |= {f"latency_p{percent:g}_ms": quantity for percent, quantity in percentiles.items()}
            result.quantities["energy_j"] = Quantity.model_validate(answer["files"][str(index)]["power"]["energy_j"])
        return timings

    def _timing(self, name: str, answer: Measurements) -> Timing:
        where = ssh_connection(self.request.device).ssh
        location = gettext("{hardware} over SSH at {ssh}", hardware=self.remote.facts["cpu"], ssh=where)
        return timing_of(name, answer, location, 1, self.request.device.contract.arrivals_per_s)

    def _add_memory(self, result: RuntimeResult, answer: FileResult) -> None:
        quantities = memory_quantities(answer, gettext("over SSH"))
        result.quantities |= {name: quantities[name] for name in QUANTITIES if name in quantities}
        if "load_ms" not in result.quantities and "load_ms" in answer:
            detail = gettext("in the worker on the device, from file to session")
            result.quantities["load_ms"] = Quantity.measured(answer["load_ms"], "ms", detail, runs=1)

    def _order(self, running: Mapping[int, RuntimeResult], *, trial: bool) -> OnnxruntimeOrder:
        """Order for one worker; a trial returns outputs."""
        device, plan = self.request.device, self.request.plan
        names = {str(index): result.entrant for index, result in running.items()}
        batches = {name: self._batches[entrant.subject] for name, entrant in names.items()}
        return {
            "job": "onnxruntime",
            "seconds": TRIAL_SECONDS if trial else plan.seconds,
            "warmup_seconds": 0.0 if trial else plan.warmup_seconds,
            "min_runs": 1 if trial else plan.min_runs,
            "batch": 1,
            "threads": plan.threads,
            "affinity": list(plan.affinity),
            "power_seconds": 0.0 if trial else 1.0,
            "arrivals_per_s": device.contract.arrivals_per_s,
            "arrival_seconds": TRIAL_SECONDS if trial else plan.seconds * ARRIVAL_SHARE,
            "trtexec": None,
            "sensors": [] if trial else [lookup("power_sensor", name).target for name in device.contract.sensors],
            "files": {str(index): self._paths[index] for index in running},
            "feeds": {name: each[0] for name, each in batches.items()},
            "runners": {name: str(_runner(entrant).target) for name, entrant in names.items()},
            "packages": {name: _package(entrant) for name, entrant in names.items()},
            "compare": batches if trial else {},
        }

    def _send(self, index: int, entrant: Entrant) -> None:
        """Copy a file with its parts, and the inputs of its subject."""
        file = entrant.file
        assert file is not None  # noqa: S101  # entrants without a file have a reason
        place = f"models/{index}"
        own = converter_of(entrant.runtime.partition(":")[0]) is not None
        for part in [*network_files(file), Path(f"{file}{ENDING}")] if own else parts(file):
            self.remote.put(part, f"{place}/{part.relative_to(file.parent)}")
        self._paths[index] = f"{place}/{file.name}"
        if entrant.subject in self._batches:
            return
        sent = []
        for number, batch in enumerate(self.request.feeds[entrant.subject]):
            paths = {}
            for position, (name, array) in enumerate(batch.items()):
                local = self.folder / "input.npy"
                np.save(local, array)
                paths[name] = f"inputs/{index}/{number}-{position}.npy"
                self.remote.put(local, paths[name])
            sent.append(paths)
        self._batches[entrant.subject] = sent

    def _reference(self, entrant: Entrant) -> list[list[Array]]:
        if entrant.source not in self._expected:
            with OnnxRuntimeRunner(entrant.source, threads=self.request.plan.threads, level="off") as runner:
                self._expected[entrant.source] = [runner.run(batch) for batch in self.request.feeds[entrant.subject]]
        return self._expected[entrant.source]


def _runner(entrant: Entrant) -> Entry:
    """Row of the runner, whose class the device imports from the agent."""
    return lookup("runner", entrant.runtime.partition(":")[0])


def _package(entrant: Entrant) -> str:
    """Packages of the runtime, as for pip."""
    return f"numpy {getattr(_runner(entrant).load(), 'package', 'onnxruntime')}"


def _array(text: str) -> Array:
    array: Array = np.load(io.BytesIO(base64.b64decode(text)), allow_pickle=False)
    return array
