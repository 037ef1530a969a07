"""Files to compare: each runtime with each ONNX file of a network, converted where the runtime needs another format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from compress.backends.converted.convert import convert_file, converter_of, target_name
from compress.backends.converted.sidecar import file_sizes, read_sidecar
from compress.backends.fixed_shapes import is_quantized
from compress.backends.onnxruntime_runner import provider_name
from compress.backends.runner_protocol import Feeds
from compress.config.devices import Device
from compress.config.devices.adb_connection import Adb
from compress.core.errors import CompressError, DeviceError, MissingOperatorError
from compress.core.language import gettext, message_of
from compress.core.progress import Reporter
from compress.core.registry import entries, lookup
from compress.core.run_directory import STAGE_FOLDERS
from compress.profile.memory.memory import parts

ALL = "all"
FIRST = ("onnxruntime", "openvino")
"""Runtimes that read ONNX files on a processor."""
FILE = "model.onnx"


@dataclass(frozen=True)
class Entrant:
    """One file in one runtime.

    Attributes:
        subject: Name of the ONNX file.
        precision: `float` or `int8`.
        runtime: Name of the runtime.
        source: The ONNX file.
        file: The file that the runtime loads; None if there is none.
        carried: What the file holds of the quantization of the ONNX file, see `sidecar`.
        reason: Why there is no file; empty if there is one.
        missing_operators: Operators that the converter lacks.
    """

    subject: str
    precision: str
    runtime: str
    source: Path
    file: Path | None = None
    carried: str = ""
    reason: str = ""
    missing_operators: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Name in the session."""
        return f"{self.subject}, {self.runtime}"

    @property
    def size_bytes(self) -> int:
        """Bytes of all files that the runtime loads."""
        assert self.file is not None  # noqa: S101  # only entrants with a file are measured
        if self.file.suffix == ".onnx":
            return sum(part.stat().st_size for part in parts(self.file))
        return file_sizes(self.file)


def chosen_runtimes(names: str, device: Device) -> tuple[str, ...]:
    """Runtimes of the option `--runtimes`.

    Args:
        names: `all`, names divided by commas, or empty for those of the device profile; all if it names one only.
        device: Profile of this machine, or of one over SSH.

    Raises:
        CompressError: There is no such runtime; the message has the nearest name.
        DeviceError: The device is not connected, or a runtime is not measured over SSH.
    """
    if device.connection is None:
        raise DeviceError(
            gettext(
                "{name} is not this machine and has no connection: use --device host, or --ssh USER@HOST to measure there",
                name=device.name,
            )
        )
    if isinstance(device.connection, Adb):
        raise DeviceError(
            gettext(
                "{name} is reached over adb, where a benchmark program runs one runtime and returns no outputs to compare: "
                "use `compress profile FILE --devices {name}`",
                name=device.name,
            )
        )
    if device.connection != "local":
        return _over_ssh(names, device)
    if not names:
        own = tuple(dict.fromkeys((device.runtime, *device.runtimes)))
        names = ",".join(own) if len(own) > 1 else ALL
    if names == ALL:
        return (*FIRST, *(row.name for row in entries("converter")))
    chosen = tuple(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))
    for name in chosen:
        lookup("runner", name.partition(":")[0])
    return chosen


def _over_ssh(names: str, device: Device) -> tuple[str, ...]:
    """Runtimes on a device over SSH: those whose files run on another machine than the one that made them.

    Raises:
        DeviceError: A runtime is not measured over SSH.
    """
    allowed = ("onnxruntime", *(row.name for row in entries("converter") if not row.options.get("this_processor")))
    if names in ("", ALL):
        own = tuple(dict.fromkeys((device.runtime, *device.runtimes)))
        return own if not names and len(own) > 1 else allowed
    chosen = tuple(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))
    if others := [name for name in chosen if name not in allowed]:
        raise DeviceError(
            gettext(
                "{runtimes} is not measured over SSH; allowed are {allowed}",
                runtimes=", ".join(others),
                allowed=", ".join(allowed),
            )
        )
    return chosen


def files_of(model: Path) -> tuple[Path, ...]:
    """The ONNX files of a network: the file itself, or of a run directory the last one and the last float one before it."""
    files = sorted(model.glob(f"{STAGE_FOLDERS}/{FILE}")) if model.is_dir() else []
    if not files:
        return (model,)
    last = files[-1]
    floats = [path for path in files if not is_quantized(path)]
    return (floats[-1], last) if is_quantized(last) and floats else (last,)


def prepare(
    files: Mapping[str, Path],
    runtimes: Sequence[str],
    feeds: Mapping[str, Feeds],
    folder: Path,
    reporter: Reporter,
) -> list[Entrant]:
    """An entrant of each file in each runtime; a conversion that fails is an entrant with its reason.

    Args:
        files: ONNX files by subject.
        runtimes: Names of runtimes.
        feeds: Inputs by subject; converted files have their shapes.
        folder: Folder for converted files.
        reporter: Shows progress.
    """
    entrants: list[Entrant] = []
    with reporter.bar(gettext("converting"), len(files) * len(runtimes)) as bar:
        for subject, source in files.items():
            for runtime in runtimes:
                entrant = Entrant(subject, "int8" if is_quantized(source) else "float", runtime, source)
                entrants.append(_with_file(entrant, feeds[subject], folder / str(len(entrants))))
                bar.advance(note=entrant.name)
    return entrants


def _with_file(entrant: Entrant, feeds: Feeds, folder: Path) -> Entrant:
    source, family = entrant.source, entrant.runtime.partition(":")[0]
    fields = (entrant.subject, entrant.precision, entrant.runtime, source)
    try:
        if converter_of(family) is None:
            if entrant.runtime.startswith("onnxruntime:"):
                provider_name(entrant.runtime.partition(":")[2])
            own = source.with_name(f"{source.stem}.{family}{source.suffix}")
            carried = "all" if entrant.precision == "int8" else "nothing"
            return Entrant(*fields, own if own.is_file() else source, carried)
        target = folder / target_name(family)
        convert_file(family, source, target, feeds)
        return Entrant(*fields, target, read_sidecar(target).carried)
    except CompressError as error:
        missing = error.operators if isinstance(error, MissingOperatorError) else ()
        return Entrant(*fields, reason=message_of(error), missing_operators=missing)
