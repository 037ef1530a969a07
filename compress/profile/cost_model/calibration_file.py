"""The file that `compress devices calibrate` writes: prices of operators on one processor, and the error of estimates.

JSON in the user's cache. A calibration is valid for one processor, runtime version and number of threads; `mismatch_reason`
says what differs. Light: read without a runtime.
"""

from __future__ import annotations

import os
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from pydantic import Field, ValidationError

from compress.config.devices.detect_hardware import Hardware
from compress.core.atomic_files import write_text
from compress.core.errors import DeviceError
from compress.core.frozen_model import FrozenModel

FORMAT = 2
"""Of the file; raised when the meaning of the prices changes."""
MAX_SPREAD = 0.1
"""Largest spread of repeated timings on an idle machine; a few percent are usual."""
MIN_PROCESSOR_SHARE = 0.9
"""Smallest share of a processor that a session with one thread gets on an idle machine."""


class Processor(NamedTuple):
    """Conditions of a calibration besides threads.

    Attributes:
        cpu: Model name.
        instruction_sets: The runtime picks its kernels by them.
        runtime: Such as `onnxruntime 1.32.0`.
    """

    cpu: str
    instruction_sets: tuple[str, ...]
    runtime: str


class Rates(FrozenModel):
    """Prices of one class of operators: time = overhead + operation × operations + element × elements.

    Attributes:
        overhead_ns: Of each operator, nanoseconds.
        operation_ns: Of each arithmetic operation.
        element_ns: Of each element read or written.
    """

    overhead_ns: float = Field(ge=0.0)
    operation_ns: float = Field(ge=0.0)
    element_ns: float = Field(ge=0.0)


class Accuracy(FrozenModel):
    """Error of estimates on architectures that were left out of the fit, one at a time.

    Attributes:
        mean: Mean of |estimate ÷ measured − 1|.
        low: 2.5 % quantile of measured ÷ estimate.
        high: 97.5 % quantile of it.
        networks: Number of architectures.
    """

    mean: float = Field(ge=0.0)
    low: float = Field(gt=0.0)
    high: float = Field(gt=0.0)
    networks: int = Field(ge=2)


class MachineLoad(FrozenModel):
    """Load of other processes while the networks were timed.

    Load that comes and goes widens the spread, and lowers the share where it takes the processor away. Constant load on the
    other hardware thread of the same core shows in neither.

    Attributes:
        spread: (q75 − q25) ÷ median of repeated timings, the median over all files.
        processor_share: Processor time ÷ wall time of the timing sessions, the median over all.
    """

    spread: float = Field(ge=0.0)
    processor_share: float = Field(ge=0.0)


class Calibration(FrozenModel):
    """A fitted cost model.

    Attributes:
        device: Profile that it was made for.
        cpu: As in `Processor`.
        instruction_sets: As in `Processor`.
        runtime: As in `Processor`.
        threads: Within an operator.
        created: When, UTC.
        seconds: Duration of the calibration.
        rates: By class of operators; see `estimate.operator_class`.
        accuracy: Of estimates.
        load: Of the machine meanwhile; None in older files.
        format: Of this file.
    """

    device: str
    cpu: str
    instruction_sets: tuple[str, ...]
    runtime: str
    threads: int = Field(ge=1)
    created: str
    seconds: float = Field(gt=0.0)
    rates: dict[str, Rates]
    accuracy: Accuracy
    load: MachineLoad | None = None
    format: int = FORMAT

    @property
    def load_warning(self) -> str:
        """Why the prices include the load of other processes; empty where the machine was idle, as far as is known."""
        if self.load is None:
            return ""
        signs = []
        if self.load.spread > MAX_SPREAD:
            signs.append(f"repeated timings of one file differ by {self.load.spread:.0%}")
        if self.threads == 1 and self.load.processor_share < MIN_PROCESSOR_SHARE:
            signs.append(f"the process got {self.load.processor_share:.0%} of a processor")
        return f"the machine was not idle: {', and '.join(signs)}" if signs else ""


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
    return Processor(hardware.cpu, hardware.instruction_sets, runtime())


def default_path(device: str, threads: int = 1) -> Path:
    """Where a device's calibration is kept: below `$COMPRESS_CACHE`, `$XDG_CACHE_HOME/compress` or `~/.cache/compress`."""
    own, shared = os.environ.get("COMPRESS_CACHE"), os.environ.get("XDG_CACHE_HOME")
    base = Path(own).expanduser() if own else (Path(shared) if shared else Path.home() / ".cache") / "compress"
    return base.absolute() / "calibrations" / f"{device}-{threads}.json"


def find_file(device: str, threads: int = 1) -> Path | None:
    """The file of a device's calibration in the user's cache; None when there is none."""
    path = default_path(device, threads)
    return path if path.is_file() else None


def save(calibration: Calibration, path: Path) -> None:
    """Write the file whole or not at all.

    Raises:
        StoreError: The folder is not writable, or full.
    """
    write_text(path, calibration.model_dump_json(indent=1) + "\n")


def load(path: Path) -> Calibration:
    """Read a file.

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


def mismatch_reason(calibration: Calibration, processor: Processor | None, threads: int = 1) -> str | None:
    """Why a calibration is not valid for a machine; None when it is.

    Args:
        calibration: The calibration.
        processor: Of the machine; None when it is not this machine.
        threads: Of the latency that is to be estimated.
    """
    if processor is None:
        return "the device is not this machine, and a calibration is valid only where it was made"
    if calibration.format != FORMAT:
        return f"it has format {calibration.format}, and this version of compress reads {FORMAT}"
    pairs = (
        ("CPU", calibration.cpu, processor.cpu),
        ("instruction sets", ", ".join(calibration.instruction_sets), ", ".join(processor.instruction_sets)),
        ("runtime", calibration.runtime, processor.runtime),
        ("threads", str(calibration.threads), str(threads)),
    )
    return next((f"it was made with {name} {then}; there it is {now}" for name, then, now in pairs if then != now), None)
