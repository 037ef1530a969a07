"""Peak GPU memory of a process, read from NVML while it runs; or the reason why it is unknown."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType

from compress.core.errors import DeviceError
from compress.core.language import gettext
from compress.core.record import Quantity
from compress.profile.power.nvml import device_handle, open_library

RATE_HZ = 50.0


@dataclass
class GpuPeak:
    """Peak GPU memory of one process.

    Attributes:
        peak: Largest reading, bytes.
        readings: Number of readings.
        whole_board: The reading is the increase of the whole board, because NVML does not report memory by process.
        reason: Why there is no reading; empty if there is one.
    """

    peak: int = 0
    readings: int = 0
    whole_board: bool = False
    reason: str = ""

    def quantity(self) -> Quantity:
        """The peak; missing with the reason if there is no reading."""
        if self.reason or not self.peak:
            return Quantity.missing(
                "bytes", gettext("NVML: {reason}", reason=self.reason or gettext("it listed no memory of this process"))
            )
        what = (
            gettext("increase of the whole board over the memory in use before")
            if self.whole_board
            else gettext("of the process")
        )
        detail = gettext("NVML, {what}, CUDA context included, read {rate_hz:g} times per second", what=what, rate_hz=RATE_HZ)
        return Quantity.measured(self.peak, "bytes", detail, runs=self.readings)


@contextmanager
def watch_gpu_memory(process: int, *, enabled: bool = True) -> Iterator[GpuPeak]:
    """Read the GPU memory of a process while the block runs.

    Args:
        process: Process id.
        enabled: If false, nothing is read.
    """
    gpu_peak, done = GpuPeak(), threading.Event()
    try:
        library, handle = _open_nvml() if enabled else (None, None)
    except DeviceError as error:
        gpu_peak.reason, library, handle = str(error), None, None
    if library is None:
        yield gpu_peak
        return
    thread = threading.Thread(target=_follow, args=(library, handle, process, gpu_peak, done), daemon=True)
    thread.start()
    try:
        yield gpu_peak
    finally:
        done.set()
        thread.join()
        library.nvmlShutdown()


def _open_nvml() -> tuple[ModuleType, object]:
    library = open_library()
    try:
        return library, device_handle(library)
    except library.NVMLError as error:
        library.nvmlShutdown()
        msg = gettext("no NVIDIA GPU is visible ({error})", error=error)
        raise DeviceError(msg) from error


def _follow(library: ModuleType, handle: object, process: int, gpu_peak: GpuPeak, done: threading.Event) -> None:
    try:
        before = library.nvmlDeviceGetMemoryInfo(handle).used
        while not done.wait(1 / RATE_HZ):
            process_bytes = _process_bytes(library, handle, process)
            gpu_peak.whole_board = process_bytes is None
            now = library.nvmlDeviceGetMemoryInfo(handle).used - before if process_bytes is None else process_bytes
            gpu_peak.peak = max(gpu_peak.peak, int(now))
            gpu_peak.readings += 1
    except library.NVMLError as error:
        gpu_peak.reason = gettext("reading stopped after {readings} readings: {error}", readings=gpu_peak.readings, error=error)


def _process_bytes(library: ModuleType, handle: object, process: int) -> int | None:
    """Bytes of the process; None where NVML hides processes or their memory, as in containers and on Windows."""
    entries = library.nvmlDeviceGetComputeRunningProcesses(handle)
    sizes = [entry.usedGpuMemory for entry in entries if entry.pid == process]
    if not sizes:
        return None if entries else 0
    return None if sizes[0] is None else int(sizes[0])
