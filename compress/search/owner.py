"""Which process runs a trial, and whether it still does.

On the machine of the owner, the process table answers. Elsewhere its heartbeat does: a number that it raises, and that others
watch on a clock of their own, so that clocks of different hosts need not agree.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

BEAT_EVERY_S = 10.0
GRACE_S = 60.0
"""Time without a heartbeat after which an owner on another machine is taken for dead."""
OWNER, BEAT = "owner", "beat"
"""Names of attributes of a trial."""


def machine() -> str:
    """Name of this machine that changes when it starts again; a container with own process numbers has its own."""
    boot, processes = "", ""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        processes = str(Path("/proc/self/ns/pid").stat().st_ino)
    return "/".join((socket.gethostname(), boot, processes))


def this_process() -> dict[str, object]:
    """This process as the owner of a trial."""
    process = psutil.Process()
    return {"machine": machine(), "pid": process.pid, "since": process.create_time(), "host": socket.gethostname()}


class OwnerWatch:
    """What is known of the owners of running trials.

    Args:
        grace_s: See `GRACE_S`.
    """

    def __init__(self, grace_s: float = GRACE_S) -> None:
        self.grace_s = grace_s
        self._machine = machine()
        self._seen: dict[int, tuple[object, float]] = {}

    def is_dead(self, number: int, attributes: Mapping[str, Any]) -> bool:
        """Whether the owner of a running trial is gone.

        Args:
            number: Number of the trial.
            attributes: Its attributes.
        """
        owner = attributes.get(OWNER)
        if owner and owner["machine"] == self._machine:
            return not _is_running(int(owner["pid"]), float(owner["since"]))
        beat = (owner, attributes.get(BEAT))
        seen, since_s = self._seen.get(number, (None, 0.0))
        if seen != beat:
            self._seen[number] = (beat, time.monotonic())
            return False
        return time.monotonic() - since_s > self.grace_s


def _is_running(pid: int, since: float) -> bool:
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and abs(process.create_time() - since) < 1.0
    except psutil.Error:
        return False


class Heartbeat:
    """Raises the number of a trial while a block runs.

    Args:
        beat: Writes the number to the storage; its errors are left to the next beat.
        every_s: Interval, s.
    """

    def __init__(self, beat: Any, every_s: float = BEAT_EVERY_S) -> None:
        self._beat = beat
        self._every_s = every_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name=f"heartbeat-{os.getpid()}")

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        number = 0
        while not self._ended.wait(self._every_s):
            number += 1
            with suppress(Exception):
                self._beat(number)
