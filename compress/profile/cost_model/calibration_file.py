"""Calibration of the cost model: latency coefficients of operators on one processor, and the error of the estimates.

`compress devices calibrate` writes it as JSON into the user's cache. It is valid for one processor, runtime version and number
of threads; `mismatch_reason` reports what differs. This module imports no runtime.
"""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from pydantic import Field, ValidationError

from compress.config.devices.detect_hardware import Hardware
from compress.core.atomic_files import write_text
from compress.core.errors import DeviceError
from compress.core.frozen_model import FrozenModel
from compress.core.language import gettext
from compress.core.user_path import user_cache

FORMAT = 2
"""Version of the file format; raised when the meaning of the coefficients changes."""
MAX_SPREAD = 0.1
"""Spread of repeated timings above which the machine counts as busy; an idle machine has a few percent."""
MIN_PROCESSOR_SHARE = 0.9
"""Processor share of a session with one thread below which the machine counts as busy."""


class Processor(NamedTuple):
    """Processor and runtime that a calibration is valid for.

    Attributes:
        cpu: Model name.
        instruction_sets: Instruction sets by which the runtime selects its kernels.
        runtime: Runtime with version, such as `onnxruntime 1.32.0`.
    """

    cpu: str
    instruction_sets: tuple[str, ...]
    runtime: str


class Rates(FrozenModel):
    """Coefficients of one class of operators: t = overhead_ns + operation_ns × operations + element_ns × elements.

    Attributes:
        overhead_ns: Time per operator, ns.
        operation_ns: Time per arithmetic operation, ns.
        element_ns: Time per element read or written, ns.
    """

    overhead_ns: float = Field(ge=0.0)
    operation_ns: float = Field(ge=0.0)
    element_ns: float = Field(ge=0.0)


class Accuracy(FrozenModel):
    """Error of the estimates in leave-one-architecture-out cross-validation.

    Attributes:
        mean: Mean of |estimate ÷ measured − 1|.
        low: 2.5 % quantile of measured ÷ estimate.
        high: 97.5 % quantile of measured ÷ estimate.
        networks: Number of architectures.
    """

    mean: float = Field(ge=0.0)
    low: float = Field(gt=0.0)
    high: float = Field(gt=0.0)
    networks: int = Field(ge=2)


class MachineLoad(FrozenModel):
    """Load of other processes while the networks were timed.

    Intermittent load widens the spread; load on the same processor lowers the share. Constant load on the other hardware thread
    of the core changes neither.

    Attributes:
        spread: (q75 − q25) ÷ median of repeated timings; median over all files.
        processor_share: Processor time ÷ wall time of a timing session; median over all sessions.
    """

    spread: float = Field(ge=0.0)
    processor_share: float = Field(ge=0.0)


class Calibration(FrozenModel):
    """A fitted cost model.

    Attributes:
        device: Name of the device profile.
        cpu: See `Processor`.
        instruction_sets: See `Processor`.
        runtime: See `Processor`.
        threads: Threads within an operator.
        created: Date and time, UTC.
        seconds: Duration of the calibration.
        rates: Coefficients by class of operators; see `estimate.operator_class`.
        accuracy: Error of the estimates.
        load: Load of the machine during the calibration; None in older files.
        format: Version of the file format.
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
        """Signs that other processes slowed the timings; empty if there are none."""
        if self.load is None:
            return ""
        signs = []
        if self.load.spread > MAX_SPREAD:
            signs.append(gettext("repeated timings of one file differ by {spread:.0%}", spread=self.load.spread))
        if self.threads == 1 and self.load.processor_share < MIN_PROCESSOR_SHARE:
            signs.append(
                gettext("the process got {processor_share:.0%} of a processor", processor_share=self.load.processor_share)
            )
        return gettext("the machine was not idle: {signs}", signs=", and ".join(signs)) if signs else ""


def runtime() -> str:
    """Name and version of the installed ONNX Runtime.

    Raises:
        DeviceError: It is not installed.
    """
    for package in ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml"):
        try:
            return f"onnxruntime {metadata.version(package)}"
        except metadata.PackageNotFoundError:
            continue
    msg = gettext("a calibration needs ONNX Runtime, which is not installed: pip install onnxruntime")
    raise DeviceError(msg)


def this_processor(hardware: Hardware | None) -> Processor | None:
    """This machine's processor and installed runtime; None if `hardware` is None: the device is another machine.

    Raises:
        DeviceError: ONNX Runtime is not installed.
    """
    if hardware is None:
        return None
    return Processor(hardware.cpu, hardware.instruction_sets, runtime())


def default_path(device: str, threads: int = 1) -> Path:
    """Path of a device's calibration: below `$COMPRESS_CACHE`, `$XDG_CACHE_HOME/compress` or `~/.cache/compress`."""
    return user_cache().absolute() / "calibrations" / f"{device}-{threads}.json"


def find_file(device: str, threads: int = 1) -> Path | None:
    """File of a device's calibration in the user's cache; None if it does not exist."""
    path = default_path(device, threads)
    return path if path.is_file() else None


def save(calibration: Calibration, path: Path) -> None:
    """Write a calibration atomically.

    Raises:
        StoreError: The folder is not writable, or the disk is full.
    """
    write_text(path, calibration.model_dump_json(indent=1) + "\n")


def load(path: Path) -> Calibration:
    """Read a calibration.

    Raises:
        DeviceError: The file cannot be read, or is not a calibration that this version reads.
    """
    try:
        return Calibration.model_validate_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        msg = gettext("cannot read the calibration {path}: {strerror}", path=path, strerror=error.strerror)
        raise DeviceError(msg) from error
    except (ValidationError, UnicodeDecodeError) as error:
        msg = gettext(
            "{path} is not a calibration that this version reads; delete it and run `compress devices calibrate` again",
            path=path,
        )
        raise DeviceError(msg) from error


def mismatch_reason(calibration: Calibration, processor: Processor | None, threads: int = 1) -> str | None:
    """Why a calibration is not valid for a machine; None when it is.

    Args:
        calibration: The calibration.
        processor: Processor and runtime of this machine; None if the device is another machine.
        threads: Threads of the latency to estimate.
    """
    if processor is None:
        return gettext("the device is not this machine, and a calibration is valid only on the machine that was timed")
    if calibration.format != FORMAT:
        return gettext(
            "it has format {format}, and this version of compress reads format {format_2}",
            format=calibration.format,
            format_2=FORMAT,
        )
    pairs = (
        ("CPU", calibration.cpu, processor.cpu),
        (gettext("instruction sets"), ", ".join(calibration.instruction_sets), ", ".join(processor.instruction_sets)),
        ("runtime", calibration.runtime, processor.runtime),
        ("threads", str(calibration.threads), str(threads)),
    )
    return next(
        (
            gettext("it was made with {name} {then}; now it is {now}", name=name, then=then, now=now)
            for name, then, now in pairs
            if then != now
        ),
        None,
    )
