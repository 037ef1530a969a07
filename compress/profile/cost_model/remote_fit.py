"""Random networks timed on a device over SSH, and the graph that its runtime makes of a file: what its cost model needs."""

from __future__ import annotations

import base64
import tempfile
import time
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from compress.backends import onnx_graph as graphs
from compress.config.devices import Device
from compress.config.devices.connection import Ssh
from compress.core.errors import ConversionError, DeviceError
from compress.core.progress import Bar, Reporter
from compress.profile.cost_model.calibration_file import Calibration, Processor, mismatch_reason
from compress.profile.cost_model.kernel_counts import CountedKernel, count_kernels
from compress.profile.cost_model.optimized_graph import read_optimized_graph
from compress.profile.cost_model.random_networks import random_network
from compress.profile.cost_model.strip_weights import strip_weights
from compress.profile.layers.ort_profile import KernelLatencies
from compress.profile.remote.session import RemoteSession

if TYPE_CHECKING:
    from compress.profile.cost_model.fit import NetworkSample, Quantize

WAVE = 10
"""Networks that are sent and timed at a time: the line is silent while one runs."""


class _Clock:
    """Seconds spent, on a bar."""

    def __init__(self, bar: Bar) -> None:
        self._bar = bar
        self._start = time.monotonic()
        self._shown = 0

    def spent(self, note: str = "") -> float:
        """Seconds; the bar follows."""
        spent = time.monotonic() - self._start
        self._bar.advance(int(spent) - self._shown, note=note)
        self._shown = int(spent)
        return spent


def _show(clock: _Clock, number: int, _fraction: float) -> None:
    clock.spent(f"{number} networks")


def collect_remote_samples(
    device: Device, quantize: Quantize, *, threads: int, seconds: float, reporter: Reporter
) -> tuple[tuple[NetworkSample, ...], Processor]:
    """Time networks on a device until the time is spent; the counterpart of `calibrate.take`.

    Returns:
        The samples, and the processor and runtime that they hold for.

    Raises:
        DeviceError: The device is not in reach, was lost on the way, lacks the runtime or space; or too few networks fit into
            the time.
        StoreError: The folder for temporary files here is full.
    """
    from compress.profile.cost_model.fit import MOST, require_networks, temporary_folder

    where = device.connection
    assert isinstance(where, Ssh)  # noqa: S101  the caller looked
    found: list[NetworkSample] = []
    number, machine = 0, None
    with (
        temporary_folder() as aside,
        reporter.bar(f"timing random networks on {device.name}", int(seconds)) as bar,
        RemoteSession(device) as remote,
    ):
        clock = _Clock(bar)
        while number < MOST and clock.spent(f"{number} networks") < seconds:
            wave = [_sent(remote, one, quantize, aside) for one in range(number, min(number + WAVE, MOST))]
            order = {
                "job": "calibrate",
                "networks": wave,
                "threads": threads,
                "affinity": list(device.contract.affinity),
                "seconds": min(seconds - clock.spent(), where.timeout_s / 2),
            }
            answer = remote.work(order, advance=partial(_show, clock, number))
            machine = _processor(answer["machine"])
            for network in answer["networks"]:
                found += _samples(network, wave[network["number"] - number], aside, machine)
            number += len(answer["networks"])
    samples = require_networks(found, seconds)
    assert machine is not None  # noqa: S101  there are samples
    return samples, machine


def _sent(remote: RemoteSession, number: int, quantize: Quantize, aside: Path) -> dict[str, Any]:
    """A network in both numbers, sent without weights; what the order says of it."""
    from compress.profile.cost_model.fit import name_nodes

    model = random_network(number)
    files = []
    for kind, made in (("fp32", model), ("int8", quantize(model))):
        place = f"networks/{number}-{kind}/model.onnx"
        files.append({"path": place, "filling": _put(remote, name_nodes(made), place, aside)})
    return {"number": number, "files": files}


def _put(remote: RemoteSession, model: onnx.ModelProto, place: str, aside: Path) -> list[tuple[str, int, float]]:
    empty, filling = strip_weights(model)
    path = aside / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(empty.SerializeToString())
    remote.put(path, place)
    return filling


def _samples(network: dict[str, Any], sent: dict[str, Any], aside: Path, machine: Processor) -> list[NetworkSample]:
    from compress.profile.cost_model.fit import build_sample, cache_sizes

    found = []
    for run, file in zip(network["runs"], sent["files"], strict=True):
        stamps = KernelLatencies(tuple(run["names"]), np.array(run["nanoseconds"]), run["total_ns"])
        graph, shapes = _read(run["graph"], aside / file["path"], machine)
        found.append(build_sample(network["number"], stamps, graph, shapes, cache_sizes(machine.caches_bytes)))
    return found


def _read(graph: str, path: Path, machine: Processor) -> Any:
    """The graph that a device wrote of a file, with its shapes."""
    optimized = path.with_name("optimized.onnx")
    optimized.write_bytes(base64.b64decode(graph))
    return read_optimized_graph(optimized, path, machine.instruction_sets)


def _processor(told: dict[str, Any]) -> Processor:
    return Processor(told["cpu"], tuple(told["instruction_sets"]), told["caches_bytes"], told["runtime"])


def remote_kernels(path: Path, device: Device, found: Calibration) -> tuple[CountedKernel, ...]:
    """Every kernel that a device's own runtime would run of a file; kept for as long as the file stays the same.

    Args:
        path: ONNX file.
        device: Its profile, with an SSH connection.
        found: Its calibration.

    Raises:
        ConversionError: Not an ONNX file.
        DeviceError: The device is not in reach, its runtime does not take the file, or the calibration does not hold there.
    """
    try:
        stamp = path.stat()
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror}"
        raise ConversionError(msg) from error
    texts = device.model_dump_json(), found.model_dump_json()
    return _kernels_there(path, (stamp.st_mtime_ns, stamp.st_size), *texts)


@lru_cache(maxsize=32)
def _kernels_there(path: Path, _stamp: tuple[int, int], profile: str, calibration: str) -> tuple[CountedKernel, ...]:
    """Plain texts, because a profile cannot be a key."""
    from compress.profile.cost_model.fit import cache_sizes

    device, found = Device.model_validate_json(profile), Calibration.model_validate_json(calibration)
    place = "network/model.onnx"
    with RemoteSession(device) as remote, tempfile.TemporaryDirectory() as folder:
        filling = _put(remote, graphs.load(path), place, Path(folder))
        affinity = list(device.contract.affinity)
        order = {"job": "optimize", "path": place, "filling": filling, "threads": found.threads, "affinity": affinity}
        answer = remote.work(order)
        machine = _processor(answer["machine"])
        if reason := mismatch_reason(found, machine, device.threads):
            raise DeviceError(reason)
        graph, shapes = _read(answer["graph"], Path(folder) / place, machine)
    return count_kernels(graph, shapes, cache_sizes(found.caches_bytes))
