"""Device profiles: what a target can do, how it wants numbers, and how it is to be measured.

A profile is a YAML file in `devices/`. Every figure in it names its source; a figure that nobody published is absent, never
invented. `load_device` finds one by name, alias or path; `host` adds what can be detected of this machine. Light: read and
checked without torch or a runtime.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import Discriminator, Field, Tag, ValidationError, field_validator, model_validator

from compress.config.devices.connection import Ssh
from compress.config.devices.detect_hardware import Hardware, detect_hardware
from compress.config.devices.profile_schema import Efficiency, MeasurementProtocol, Peaks, Precision, SourcedValue
from compress.core.errors import DeviceError, nearest
from compress.core.frozen_model import FrozenModel
from compress.core.registry import entries
from compress.core.registry_field import RegistryName

Connection = Annotated[
    Annotated[Literal["local"], Tag("local")] | Annotated[Ssh, Tag("ssh")],
    Discriminator(lambda given: "ssh" if isinstance(given, dict | Ssh) else "local"),
]
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Device(FrozenModel):
    """One target.

    Attributes:
        name: As in a recipe, and the name of its file.
        title: The exact hardware, for people.
        kind: `cpu` or `gpu`.
        aliases: Short names.
        runtime: What runs the artifact there.
        runtimes: Others to try on this machine: `openvino`, `tensorrt`, or `onnxruntime:` and an execution provider such as
            `cuda`. The one that measures fastest, of those whose answers agree with `runtime`'s, is reported.
        connection: `local` when it is this machine, `{ssh: host}` when it is reached over SSH; None when it is not at hand, so
            that it can only be estimated.
        threads: Threads of a measurement or estimate.
        peaks: Limits of the hardware.
        efficiency: What of them is reached; None when no estimate is wanted.
        precision: Numbers that the runtime wants.
        contract: How to measure.
        hardware: What was detected; only for this machine.
    """

    name: str = Field(pattern=r"^[a-z0-9_]+$")
    title: str = Field(min_length=1)
    kind: Literal["cpu", "gpu"]
    aliases: tuple[str, ...] = ()
    runtime: Annotated[str, RegistryName("runner", option="own_profile")]
    runtimes: tuple[str, ...] = ()
    connection: Connection | None = None
    threads: int = Field(default=1, ge=1)
    peaks: Peaks = Peaks()
    efficiency: Efficiency | None = None
    precision: Precision
    contract: MeasurementProtocol = MeasurementProtocol()
    hardware: Hardware | None = None

    @field_validator("runtimes")
    @classmethod
    def _check_runtimes(cls, runtimes: tuple[str, ...]) -> tuple[str, ...]:
        for name in runtimes:
            family, colon, provider = name.partition(":")
            rows = {row.name: row.options for row in entries("runner") if "format" in row.options}
            with_provider = not colon or (rows.get(family, {}).get("providers") and re.fullmatch("[a-z]+", provider))
            if family not in rows or not with_provider:
                hint = nearest(name, [f"{row}:cuda" if options.get("providers") else row for row, options in rows.items()])
                msg = f"{name!r} is no runtime: {hint}; after onnxruntime: any execution provider, such as qnn or coreml"
                raise ValueError(msg)
        return runtimes

    @model_validator(mode="after")
    def _require_what_an_estimate_needs(self) -> Self:
        needed = ("fp32_gflops", "memory_bandwidth_gb_s", "memory_bytes")
        missing = [f"peaks.{name}" for name in needed if getattr(self.peaks, name) is None]
        missing += ["efficiency"] if self.efficiency is None else []
        if self.connection is None and missing:
            msg = f"a device that is not at hand is estimated, which needs {', '.join(missing)}: each {{value, unit, source}}"
            raise ValueError(msg)
        return self


def folders(base: Path | None = None) -> tuple[Path, ...]:
    """Where profiles are looked for, first match first: the user's `devices/`, then the shipped ones."""
    package = Path(__file__).parents[2]
    return ((base or Path.cwd()) / "devices", package / "shipped" / "devices", package.parent / "devices")


def _files(base: Path | None) -> Iterator[Path]:
    for folder in folders(base):
        if folder.is_dir():
            yield from sorted(folder.glob("*.yaml"))


def device_names(base: Path | None = None) -> tuple[str, ...]:
    """Names of all profiles that can be found, sorted, without aliases."""
    return tuple(sorted({path.stem for path in _files(base)}))


def load_device(name: str, base: Path | None = None) -> Device:
    """Find and check one profile.

    Args:
        name: Its name, an alias of it, or the path of a YAML file (relative to `base`).
        base: Folder whose `devices/` is searched first; the working folder by default.

    Raises:
        DeviceError: No such profile, or one with a fault; the message names the file, the line and the key.
    """
    if name.endswith((".yaml", ".yml")):
        return _complete(_read((base or Path.cwd()) / name))
    by_name: dict[str, Path] = {}
    for path in _files(base):
        by_name.setdefault(path.stem, path)
    if name in by_name:
        return _complete(_read(by_name[name]))
    for path in by_name.values():
        if name in _aliases(path):
            return _complete(_read(path))
    known = set(by_name).union(*(_aliases(path) for path in by_name.values()))
    msg = f"unknown device {name!r}: {nearest(name, known)}; or the path of a profile, `something.yaml`"
    raise DeviceError(msg)


@cache
def host() -> Device:
    """This machine: the shipped profile `host`, completed by what can be detected."""
    return load_device("host")


def _complete(device: Device) -> Device:
    """Add what can be detected to the profile of this machine."""
    if device.connection != "local":
        return device
    hardware = detect_hardware()
    memory = SourcedValue(value=hardware.memory_bytes, unit="bytes", source="detected: psutil.virtual_memory().total")
    peaks = device.peaks.model_copy(update={"memory_bytes": memory})
    return device.model_copy(update={"hardware": hardware, "peaks": peaks, "title": f"this machine: {hardware.cpu}"})


def fingerprint(device: Device) -> dict[str, Any]:
    """What a result on this device depends on, as JSON, for stage keys. No runtime is imported."""
    profile = device.model_dump_json(exclude={"hardware": True, "peaks": {"memory_bytes"}})
    inputs: dict[str, Any] = {"name": device.name, "profile": hashlib.sha256(profile.encode()).hexdigest()[:16]}
    if device.hardware is not None:
        inputs |= {"cpu": device.hardware.cpu, "cores": device.hardware.cores}
        inputs |= {name: _version(name) for name in ("onnxruntime", *(name.partition(":")[0] for name in device.runtimes))}
    return inputs


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _aliases(path: Path) -> tuple[str, ...]:
    """Aliases in a file; none where it cannot be read: that is told when it is asked for by its own name."""
    try:
        aliases = _parse(path)[0].get("aliases")
    except DeviceError:
        return ()
    return tuple(map(str, aliases)) if isinstance(aliases, list) else ()


def _parse(path: Path) -> tuple[dict[str, Any], str]:
    """Contents of a profile, and its text."""
    try:
        text = path.read_text(encoding="utf-8")
        profile = yaml.load(text, Loader=LOADER)  # noqa: S506  a safe loader, the C one where there is one
    except OSError as error:
        msg = f"cannot read the device profile {path}: {error.strerror}; known by name: {', '.join(device_names())}"
        raise DeviceError(msg) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        msg = f"{path} is not YAML: {error}"
        raise DeviceError(msg) from error
    if not isinstance(profile, dict):
        msg = f"{path}: a device profile is a mapping with name, title, kind, runtime, peaks, precision; got {profile!r:.60}"
        raise DeviceError(msg)
    return profile, text


def _read(path: Path) -> Device:
    """Check one file."""
    profile, text = _parse(path)
    try:
        device = Device.model_validate(profile)
    except ValidationError as error:
        tree = yaml.compose(text, Loader=LOADER)
        faults = "\n".join(_describe(fault, tree) for fault in error.errors())
        msg = f"{path}: {error.error_count()} fault{'s' * (error.error_count() != 1)}\n{faults}"
        raise DeviceError(msg) from error
    if device.name != path.stem:
        msg = f"{path}: name is {device.name!r} but the file is {path.name}; name the file {device.name}.yaml"
        raise DeviceError(msg)
    return device


def _describe(fault: Any, tree: yaml.Node | None) -> str:
    keys = ".".join(str(part) for part in fault["loc"]) or "profile"
    text = fault["msg"].removeprefix("Value error, ")
    given = f", got {fault['input']!r:.60}" if fault["type"] not in ("missing", "value_error") else ""
    return f"  line {_line(tree, fault['loc'])}: {keys}: {text}{given}"


def _line(tree: yaml.Node | None, path: tuple[Any, ...]) -> int:
    """Line of the deepest key of `path` that the file has, counted from 1."""
    line = 1
    for part in path:
        if isinstance(tree, yaml.MappingNode):
            match = next(((key, value) for key, value in tree.value if key.value == str(part)), None)
        elif isinstance(tree, yaml.SequenceNode) and isinstance(part, int) and part < len(tree.value):
            match = (tree.value[part], tree.value[part])
        else:
            match = None
        if match is None:
            break
        line, tree = match[0].start_mark.line + 1, match[1]
    return line
