"""Latency of one file measured locally and over SSH on loopback, alternately: both must agree.

    python tests/benchmarks/bench_ssh.py                       # starts an sshd of its own
    python tests/benchmarks/bench_ssh.py --models FILE.onnx --pairs 50 --seconds 2

Each pair is one local and one remote measurement, in alternating order. The ratio of the two medians of a pair cancels drift
that is slower than a pair. Each remote measurement runs in a new process, all over one connection. A second series pairs
local with local, which shows the influence of other processes on this machine. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from compress.config.devices import Device, host
from compress.config.devices.connection import Ssh
from compress.core.statistics import percentile_interval
from compress.profile.latency.interleave import TimingPlan
from compress.profile.latency.timing import measure
from compress.profile.remote.jobs import build_job
from compress.profile.remote.session import RemoteSession
from tests.profile.remote.conftest import SSHD, Server

TARGET = 0.05
SIZE = 64
CONTRACT = host().contract.model_copy(update={"sensors": ("battery",)})
"""Power is no part of this; the sensor that is least often there keeps it short."""


def networks(folder: Path) -> list[Path]:
    """Two networks of torchvision with random weights, exported."""
    import torch
    import torchvision

    paths = []
    for name in ("mobilenet_v2", "resnet18"):
        module = torchvision.models.get_model(name, weights=None).eval()
        paths.append(folder / f"{name}_{SIZE}.onnx")
        program = torch.onnx.export(module, (torch.zeros(1, 3, SIZE, SIZE),), dynamo=True, verbose=False)
        program.save(paths[-1])
    return paths


def loopback(server: Server) -> Device:
    """This machine as a device reached over SSH."""
    os.environ["PATH"] = f"{server.programs}{os.pathsep}{os.environ['PATH']}"
    where = Ssh(ssh="127.0.0.1", port=server.port, python=sys.executable, options=server.options())
    return host().model_copy(update={"name": "loopback", "connection": where, "hardware": None, "contract": CONTRACT})


def median_here(path: Path, seconds: float) -> float:
    """Median latency measured in this process, ms."""
    feeds = {"input": np.zeros((1, 3, SIZE, SIZE), np.float32)}
    timing = measure({"artifact": path}, feeds, TimingPlan.of(seconds))["artifact"]
    return float(np.median(timing.milliseconds))


def median_there(session: RemoteSession, order: dict[str, Any]) -> float:
    """Median latency measured over SSH, ms."""
    return float(np.median(session.work(order)["files"]["artifact"]["milliseconds"]))


def order_for(path: Path, seconds: float, device: Device, session: RemoteSession) -> dict[str, Any]:
    """Send the file, and say what to do with it."""
    settings = {"batch": 1, "threads": 1, "seconds": seconds, "warmup_seconds": 0.2 * seconds, "min_runs": 10}
    sent = build_job({"artifact": path}, None, device, settings | {"affinity": [], "power_seconds": 0.0})
    for name, file in sent.files.items():
        session.put(file, name)
    return sent.order


def pairs(first: Callable[[], float], second: Callable[[], float], count: int) -> tuple[list[float], list[float]]:
    """Results of both, taken in turns."""
    ours, theirs = [], []
    for number in range(count):
        if number % 2:
            theirs.append(second())
            ours.append(first())
        else:
            ours.append(first())
            theirs.append(second())
    return ours, theirs


def row(name: str, what: str, ours: Sequence[float], theirs: Sequence[float]) -> tuple[str, float]:
    """One line of the table, and the ratio."""
    ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
    ratio = statistics.median(ratios)
    interval = percentile_interval(ratios, 0.5)
    spread = f"{interval[0]:.3f} to {interval[1]:.3f}" if interval else "too few pairs"
    line = f"| {name} | {what} | {statistics.median(ours):.3f} | {statistics.median(theirs):.3f} | {ratio:.3f} | {spread} |"
    return line, ratio


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, nargs="*", help=f"ONNX files of {SIZE} pixels; two small networks by default")
    parser.add_argument("--pairs", type=int, default=25)
    parser.add_argument("--seconds", type=float, default=0.5, help="counted time of each measurement")
    given = parser.parse_args()
    if SSHD is None:
        sys.exit("needs a real SSH server: apt install openssh-server")
    hardware = host().hardware
    client = subprocess.run(["ssh", "-V"], capture_output=True, text=True, check=False).stderr.strip()
    print(f"{hardware.cpu if hardware else 'this machine'}, {client}, {given.pairs} pairs of {given.seconds:g} s, 1 thread\n")
    print("| network | pair | first p50 ms | second p50 ms | second ÷ first | 95 % interval |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "sshd").mkdir()
        server = Server(folder / "sshd")
        try:
            device = loopback(server)
            ratios = []
            for path in given.models or networks(folder):
                with RemoteSession(device) as session:
                    order = order_for(path, given.seconds, device, session)
                    here, there = partial(median_here, path, given.seconds), partial(median_there, session, order)
                    line, ratio = row(path.stem, "local, SSH", *pairs(here, there, given.pairs))
                ratios.append(ratio)
                print(line, flush=True)
                print(row(path.stem, "local, local", *pairs(here, here, given.pairs))[0], flush=True)
        finally:
            server.stop()
    verdict = "met" if all(abs(ratio - 1) <= TARGET for ratio in ratios) else "missed"
    print(f"\nTarget: local and SSH within {TARGET:.0%}: {verdict}")


if __name__ == "__main__":
    main()
