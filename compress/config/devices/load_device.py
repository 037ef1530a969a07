"""Find and read device profiles: YAML files in `devices/`, by name, alias or path. Imports neither torch nor a runtime."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cache, lru_cache
from importlib import metadata
from pathlib import Path

from pydantic import ValidationError

from compress.config.devices.detect_hardware import detect_hardware
from compress.config.devices.profile_schema import Device, SourcedValue
from compress.config.pydantic_messages import findings, loose_numbers
from compress.config.yaml_lines import Document, parse_mapping, read_text
from compress.config.yaml_nodes import DEVICE_PROFILE, UnreadableError
from compress.core.errors import CompressError, DeviceError, ValidationIssue, nearest
from compress.core.language import gettext, ngettext
from compress.core.user_path import user_path


def folders(base: Path | None = None) -> tuple[Path, ...]:
    """Folders of profiles in the order of the search: the user's `devices/`, then the shipped ones."""
    package = Path(__file__).parents[2]
    return ((base or Path.cwd()) / "devices", package / "shipped" / "devices", package.parent / "devices")


def _files(base: Path | None) -> Iterator[Path]:
    for folder in folders(base):
        if folder.is_dir():
            yield from sorted(folder.glob("*.yaml"))


def device_names(base: Path | None = None) -> tuple[str, ...]:
    """Sorted names of all profiles, without aliases."""
    return tuple(sorted({path.stem for path in _files(base)}))


def load_device(name: str, base: Path | None = None) -> Device:
    """Find and check a profile.

    Args:
        name: Its name, an alias of it, or the path of a YAML file (relative to `base`).
        base: Folder whose `devices/` is searched first; the working folder by default.

    Raises:
        DeviceError: The profile is missing or has faults; the message names the file, the line and the key.
    """
    if name.endswith((".yaml", ".yml")):
        try:
            path = user_path(name, base or Path.cwd())
        except CompressError as error:
            raise DeviceError(str(error)) from error
        return _complete(_read(path))
    by_name: dict[str, Path] = {}
    for path in _files(base):
        by_name.setdefault(path.stem, path)
    if name in by_name:
        return _complete(_read(by_name[name]))
    for path in by_name.values():
        if name in _aliases(path):
            return _complete(_read(path))
    known = set(by_name).union(*(_aliases(path) for path in by_name.values()))
    msg = gettext(
        "unknown device {name!a:.60}: {hint}; or the path of a profile, `something.yaml`", name=name, hint=nearest(name, known)
    )
    raise DeviceError(msg)


@cache
def host() -> Device:
    """This machine: the shipped profile `host` with detected properties."""
    return load_device("host")


def _complete(device: Device) -> Device:
    """Add detected properties to the profile of this machine."""
    if device.connection != "local":
        return device
    hardware = detect_hardware()
    memory = SourcedValue(value=hardware.memory_bytes, unit="bytes", source="detected: psutil.virtual_memory().total")
    peaks = device.peaks.model_copy(update={"memory_bytes": memory})
    return device.model_copy(update={"hardware": hardware, "peaks": peaks, "title": f"this machine: {hardware.cpu}"})


def fingerprint(device: Device) -> dict[str, object]:
    """Properties of a device that a result depends on, as JSON, for stage keys. No runtime is imported."""
    profile = device.model_dump_json(exclude={"hardware": True, "peaks": {"memory_bytes"}})
    inputs: dict[str, object] = {"name": device.name, "profile": hashlib.sha256(profile.encode()).hexdigest()[:16]}
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
    """Aliases in a file; empty if it cannot be read, which loading it by its name reports."""
    try:
        aliases = _parse(path).tree.get("aliases")
    except DeviceError:
        return ()
    return tuple(alias for alias in aliases if isinstance(alias, str)) if isinstance(aliases, list) else ()


def _parse(path: Path) -> Document:
    try:
        return _document(read_text(path))
    except OSError as error:
        msg = gettext(
            "cannot read the device profile {path}: {strerror}; known by name: {device_names}",
            path=path,
            strerror=error.strerror,
            device_names=", ".join(device_names()),
        )
        raise DeviceError(msg) from error
    except UnreadableError as error:
        raise _refused(path, [error.issue]) from error


@lru_cache(maxsize=64)
def _document(text: str) -> Document:
    """A parsed profile, cached: the look-up of an alias parses every profile, several times in a validation."""
    return parse_mapping(text, DEVICE_PROFILE)


def _read(path: Path) -> Device:
    """Read and check a file."""
    document = _parse(path)
    issues = list(document.issues)
    try:
        device = Device.model_validate(document.tree)
    except ValidationError as error:
        issues += [document.issue(*finding) for finding in findings(error, Device, document.tree)]
        raise _refused(path, issues) from error
    issues += [document.issue(*finding) for finding in loose_numbers(document.tree, Device)]
    if issues:
        raise _refused(path, issues)
    if device.name != path.stem:
        msg = gettext(
            "{path}: name is {name!r} but the file is {path_name}; name the file {name}.yaml",
            path=path,
            name=device.name,
            path_name=path.name,
        )
        raise DeviceError(msg)
    return device


def _refused(path: Path, issues: list[ValidationIssue]) -> DeviceError:
    lines = "\n".join(f"  {issue}" for issue in sorted(issues, key=lambda issue: issue.line or 0))
    count = ngettext("{number} fault", "{number} faults", len(issues))
    return DeviceError(f"{path}: {count}\n{lines}")
