"""Power of an NVIDIA GPU through NVML (nvidia-ml-py): the board's energy counter, or its power where there is no counter.

Jetsons have NVML but no power in it: it counts as missing. Since Ampere the power reading is a mean over a second; the
counter (Volta and later) has no such lag.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from types import ModuleType

from compress.core.errors import DeviceError

MILLI = 1e-3


@dataclass
class Nvml:
    """One GPU: the first that CUDA shows to this process.

    Attributes:
        counts: Whether joules are counted; decided by `available`.
    """

    name: str = "NVML"
    counts: bool = True
    rate_hz: float = 20.0
    shortest_s: float = 2.0
    _library: ModuleType | None = field(default=None, repr=False)
    _handle: object = field(default=None, repr=False)

    def available(self) -> str | None:
        """None when energy or power can be read and is not zero."""
        try:
            self._open()
        except DeviceError as error:
            return str(error)
        reasons = []
        for counts, call in ((True, "nvmlDeviceGetTotalEnergyConsumption"), (False, "nvmlDeviceGetPowerUsage")):
            self.counts = counts
            try:
                value = self.read()
            except DeviceError as error:
                reasons.append(f"{call}: {error}")
                continue
            if value > 0:
                return None
            reasons.append(f"{call} gives 0")
        self.stop()
        return "; ".join(reasons)

    def measures(self) -> str:
        """Name of the board."""
        return f"the whole board of {self._call('nvmlDeviceGetName')}, {'energy counter' if self.counts else 'power reading'}"

    def start(self) -> None:
        """Open the library."""
        self._open()

    def read(self) -> float:
        """Joules since the driver was loaded, or watts."""
        call = "nvmlDeviceGetTotalEnergyConsumption" if self.counts else "nvmlDeviceGetPowerUsage"
        return float(self._call(call)) * MILLI

    def stop(self) -> None:
        """Close the library."""
        if self._library is not None:
            self._library.nvmlShutdown()
            self._library = self._handle = None

    def _open(self) -> None:
        if self._library is not None:
            return
        try:
            import pynvml
        except ImportError as error:
            msg = "the package nvidia-ml-py is not installed"
            raise DeviceError(msg) from error
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            msg = f"no NVIDIA driver answers ({error})"
            raise DeviceError(msg) from error
        self._library = pynvml
        try:
            self._handle = device_handle(pynvml)
        except pynvml.NVMLError as error:
            self.stop()
            msg = f"no NVIDIA GPU is visible ({error})"
            raise DeviceError(msg) from error

    def _call(self, name: str) -> float | str:
        if self._library is None:
            msg = "read before it was opened"
            raise DeviceError(msg)
        try:
            value = getattr(self._library, name)(self._handle)
        except self._library.NVMLError as error:
            raise DeviceError(str(error)) from error
        return value.decode() if isinstance(value, bytes) else value  # some releases give text as bytes


def device_handle(library: ModuleType) -> object:
    """NVML's handle of CUDA's device 0: NVML itself does not look at CUDA_VISIBLE_DEVICES."""
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0].strip()
    if first.startswith(("GPU-", "MIG-")):
        return library.nvmlDeviceGetHandleByUUID(first)
    return library.nvmlDeviceGetHandleByIndex(int(first) if first.isdigit() else 0)
