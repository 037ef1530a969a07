"""What `compress devices calibrate` found: rates of a runtime's kernels on one processor, and how wrong estimates are.

Kept as JSON in the user's cache. It holds for the processor, the runtime's version and the number of threads that it was made
with, and for nothing else: `mismatch_reason` says what differs. Light: read without a runtime.
"""

from __future__ import annotations

import os
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from pydantic import Field, ValidationError, field_validator

from compress.config.devices.detect_hardware import Hardware
from compress.core.atomic_files import write_text
from compress.core.errors import DeviceError
from compress.core.frozen_model import FrozenModel

FORMAT = 1
"""Of the file; raised when what the counts of a kernel mean changes."""


RENAMED_COUNTS = {
    "patches": "im2col_elements",
    "sums": "partial_sums",
    "ragged": "unaligned_macs",
    "spilled": "l2_spill_bytes",
    "near": "l2_miss_bytes",
    "far": "llc_miss_bytes",
}
"""Names of counts in files of older versions, and their names now."""


class Processor(NamedTuple):
    """What a calibration depends on besides threads.

    Attributes:
        cpu: Model name.
        instruction_sets: The runtime picks its kernels by them.
        caches_bytes: By level.
        runtime: Such as `onnxruntime 1.32.0`.
    """

    cpu: str
    instruction_sets: tuple[str, ...]
    caches_bytes: dict[str, int]
    runtime: str


class Rates(FrozenModel):
    """Time of the kernels of one class: overhead + Σ price × count.

    Attributes:
        overhead_ns: Of each kernel, nanoseconds.
        prices_ns: Nanoseconds of each count, such as `macs`; never negative. Those that cost nothing are left out.
        samples: Kernels that it was fitted on.
    """

    overhead_ns: float = Field(ge=0.0)
    prices_ns: dict[str, float]
    samples: int = Field(ge=1)

    @field_validator("prices_ns")
    @classmethod
    def _rename_old_counts(cls, prices_ns: dict[str, float]) -> dict[str, float]:
        """Files of older versions name some counts by other words."""
        return {RENAMED_COUNTS.get(name, name): price for name, price in prices_ns.items()}


class Accuracy(FrozenModel):
    """How far estimates were off on random networks that were left out of the fit in turns.

    Attributes:
        mean: Mean of |estimate ÷ measured − 1|.
        low: 2.5 % quantile of measured ÷ estimate.
        high: 97.5 % quantile of it.
        networks: How many, each in fp32 and in int8.
    """

    mean: float = Field(ge=0.0)
    low: float = Field(gt=0.0)
    high: float = Field(gt=0.0)
    networks: int = Field(ge=2)


class Calibration(FrozenModel):
    """A fitted cost model.

    Attributes:
        device: Profile that it was made for.
        cpu: As in `Processor`, like the three after it.
        instruction_sets: See there.
        caches_bytes: See there.
        runtime: See there.
        threads: Within an operator.
        created: When, UTC.
        seconds: What it took.
        rates: By class of kernel; the pools `product fp32`, `other int8`, … stand in for classes that never occurred.
        accuracy: Of estimates.
        format: Of this file.
    """

    device: str
    cpu: str
    instruction_sets: tuple[str, ...]
    caches_bytes: dict[str, int]
    runtime: str
    threads: int = Field(ge=1)
    created: str
    seconds: float = Field(gt=0.0)
    rates: dict[str, Rates]
    accuracy: Accuracy
    format: int = FORMAT


def runtime() -> str:
    """The runtime that is installed, as a calibration names it.

    Raises:
        DeviceError: There is none.
    """
    for package in ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml"):
        try:
            return f"onnxruntime {metadata.version(package)}"
        except metadata.PackageNotFoundError:
            continue
    msg = "ONNX Runtime is not installed, which a calibration is made for: pip install onnxruntime"
    raise DeviceError(msg)


def this_processor(hardware: Hardware | None) -> Processor | None:
    """This machine's processor with the runtime that is installed; None of a device that is not this machine.

    Raises:
        DeviceError: No runtime is installed.
    """
    if hardware is None:
        return None
    return Processor(hardware.cpu, hardware.instruction_sets, hardware.caches_bytes, runtime())


def default_path(device: str, threads: int = 1) -> Path:
    """Where a device's calibration is kept: below `$COMPRESS_CACHE`, `$XDG_CACHE_HOME/compress` or `~/.cache/compress`."""
    own, shared = os.environ.get("COMPRESS_CACHE"), os.environ.get("XDG_CACHE_HOME")
    base = Path(own).expanduser() if own else (Path(shared) if shared else Path.home() / ".cache") / "compress"
    return base.absolute() / "calibrations" / f"{device}-{threads}.json"


def find_file(device: str, threads: int = 1) -> Path | None:
    """The file of a device's calibration in the user's cache; None when there is none."""
    path = default_path(device, threads)
    return path if path.is_file() else None


def save(found: Calibration, path: Path) -> None:
    """Write it whole or not at all.

    Raises:
        StoreError: The folder is not writable, or full.
    """
    write_text(path, found.model_dump_json(indent=1) + "\n")


def load(path: Path) -> Calibration:
    """Read one.

    Raises:
        DeviceError: The file cannot be read, or is not a calibration of this version of `compress`.
    """
    try:
        return Calibration.model_validate_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        msg = f"cannot read the calibration {path}: {error.strerror}"
        raise DeviceError(msg) from error
    except (ValidationError, UnicodeDecodeError) as error:
        msg = f"{path} is not a calibration that this version reads; delete it and run `compress devices calibrate` again"
        raise DeviceError(msg) from error


def mismatch_reason(found: Calibration, there: Processor | None, threads: int = 1) -> str | None:
    """Why a calibration says nothing about a machine; None when it holds there.

    Args:
        found: The calibration.
        there: What the machine has; None when it is not known.
        threads: Of what is to be estimated.
    """
    if there is None:
        return "the device is not this machine, and a calibration holds only where it was made"
    if found.format != FORMAT:
        return f"it has format {found.format}, and this version of compress reads {FORMAT}"
    pairs = (
        ("CPU", found.cpu, there.cpu),
        ("instruction sets", ", ".join(found.instruction_sets), ", ".join(there.instruction_sets)),
        ("runtime", found.runtime, there.runtime),
        ("threads", str(found.threads), str(threads)),
    )
    return next((f"it was made with {what} {made}; there it is {now}" for what, made, now in pairs if made != now), None)
