"""Peak of a process on the GPU, by NVML, read beside it; or the reason why it is not known."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from compress.core.errors import DeviceError
from compress.core.record import Quantity
from compress.profile.power.nvml import device_handle

RATE_HZ = 50.0


@dataclass
class GpuPeak:
    """What was seen of one process.

    Attributes:
        peak: Most bytes at one reading.
        readings: How many there were.
        whole_board: NVML did not tell processes apart: the board's memory above what was used before.
        reason: Why there is nothing; empty when there is.
    """

    peak: int = 0
    readings: int = 0
    whole_board: bool = False
    reason: str = ""

    def quantity(self) -> Quantity:
        """The peak, or its reason."""
        if self.reason or not self.peak:
            return Quantity.missing("bytes", f"NVML: {self.reason or 'it showed no memory of this process'}")
        what = "of the whole board above what was in use before" if self.whole_board else "of the process"
        detail = f"NVML, {what}, the GPU's own context included, read {RATE_HZ:g} times a second"
        return Quantity.measured(self.peak, "bytes", detail, runs=self.readings)


@contextmanager
def watch_gpu_memory(process: int, *, wanted: bool = True) -> Iterator[GpuPeak]:
    """Read the GPU memory of a process while the block runs.

    Args:
        process: Its id.
        wanted: False reads nothing.
    """
    found, done = GpuPeak(), threading.Event()
    try:
        library, handle = _opened() if wanted else (None, None)
    except DeviceError as error:
        found.reason, library, handle = str(error), None, None
    if library is None:
        yield found
        return
    thread = threading.Thread(target=_follow, args=(library, handle, process, found, done), daemon=True)
    thread.start()
    try:
        yield found
    finally:
        done.set()
        thread.join()
        library.nvmlShutdown()


def _opened() -> tuple[Any, Any]:
    try:
        import pynvml
    except ImportError as error:
        msg = "the package nvidia-ml-py is not installed"
        raise DeviceError(msg) from error
    try:
        pynvml.nvmlInit()
        return pynvml, device_handle(pynvml)
    except pynvml.NVMLError as error:
        raise DeviceError(str(error)) from error


def _follow(library: Any, handle: Any, process: int, found: GpuPeak, done: threading.Event) -> None:
    try:
        before = library.nvmlDeviceGetMemoryInfo(handle).used
        while not done.wait(1 / RATE_HZ):
            own = _own(library, handle, process)
            found.whole_board = own is None
            now = library.nvmlDeviceGetMemoryInfo(handle).used - before if own is None else own
            found.peak = max(found.peak, int(now))
            found.readings += 1
    except library.NVMLError as error:
        found.reason = f"it stopped after {found.readings} readings: {error}"


def _own(library: Any, handle: Any, process: int) -> int | None:
    """Bytes of the process; None where NVML hides processes or their memory, as in containers and on Windows."""
    listed = library.nvmlDeviceGetComputeRunningProcesses(handle)
    mine = [entry.usedGpuMemory for entry in listed if entry.pid == process]
    if not mine:
        return None if listed else 0
    return None if mine[0] is None else int(mine[0])
