"""Power of an NVIDIA GPU from NVML (nvidia-ml-py): energy counter of the board, else its power reading.

The counter exists since Volta. Since Ampere the power reading is a mean over one second; the counter has no such lag. NVML on a
Jetson reports neither.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from types import ModuleType

from compress.core.errors import DeviceError
from compress.core.language import gettext

MILLI = 1e-3


@dataclass
class Nvml:
    """Power sensor of CUDA device 0.

    Attributes:
        counts: Whether the GPU has an energy counter; set by `available`.
    """

    name: str = "NVML"
    counts: bool = True
    rate_hz: float = 20.0
    shortest_s: float = 2.0
    _library: ModuleType | None = field(default=None, repr=False)
    _handle: object = field(default=None, repr=False)

    def available(self) -> str | None:
        """None if energy or power can be read and is not zero."""
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
            reasons.append(gettext("{call} returns 0", call=call))
        self.stop()
        return "; ".join(reasons)

    def measures(self) -> str:
        """Name of the board."""
        return gettext(
            "the whole board of {board}, {method}",
            board=self._call("nvmlDeviceGetName"),
            method=gettext("energy counter") if self.counts else gettext("power reading"),
        )

    def start(self) -> None:
        """Open the library."""
        self._open()

    def read(self) -> float:
        """Energy since the driver was loaded, J, or present power, W."""
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
        self._library = library = open_library()
        try:
            self._handle = device_handle(library)
        except library.NVMLError as error:
            self.stop()
            msg = gettext("no NVIDIA GPU is visible ({error})", error=error)
            raise DeviceError(msg) from error

    def _call(self, name: str) -> float | str:
        if self._library is None:
            msg = gettext("NVML is not open; call `start` before `read`")
            raise DeviceError(msg)
        try:
            value = getattr(self._library, name)(self._handle)
        except self._library.NVMLError as error:
            raise DeviceError(str(error)) from error
        return value.decode() if isinstance(value, bytes) else value  # some releases give text as bytes


def open_library() -> ModuleType:
    """NVML, initialised; whoever opens it calls `nvmlShutdown`.

    Raises:
        DeviceError: The package is not installed, or the driver is not available.
    """
    try:
        import pynvml
    except ImportError as error:
        msg = gettext("the package nvidia-ml-py is not installed: pip install nvidia-ml-py")
        raise DeviceError(msg) from error
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        msg = gettext("the NVIDIA driver is not available ({error})", error=error)
        raise DeviceError(msg) from error
    library: ModuleType = pynvml
    return library


def device_handle(library: ModuleType) -> object:
    """NVML handle of CUDA device 0; NVML ignores CUDA_VISIBLE_DEVICES, so it is evaluated here."""
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0].strip()
    if first.startswith(("GPU-", "MIG-")):
        return library.nvmlDeviceGetHandleByUUID(first)
    return library.nvmlDeviceGetHandleByIndex(int(first) if first.isdigit() else 0)
