"""A profile of a machine that is named by its SSH host alone: written from what the machine reports, to be named and kept."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

from compress.config.devices import Device, load_device
from compress.config.devices.connection import HOST
from compress.config.yaml_writer import dump
from compress.core.atomic_files import write_text
from compress.core.errors import DeviceError
from compress.core.language import gettext
from compress.profile.remote.inspect_device import DeviceFacts, inspect_device

FOLDER = Path("devices")
HEADER = """\
# Written by `compress` from what {host} reported on {date}: {system}, {architecture}, {processors} processors, {runtime}.
# Name it and keep it: rename the file and the line `name`. Check it with `compress devices check {name}`.
"""
PRECISIONS = {
    "onnxruntime": {
        "floats": "fp32",
        "activations": "uint8",
        "symmetric_activations": False,
        "source": "ONNX Runtime documentation, Quantize ONNX models",
    },
    "tensorrt": {
        "floats": "fp16",
        "activations": "int8",
        "symmetric_activations": True,
        "source": "TensorRT documentation, Working with Quantized Types: zero points are 0",
    },
}
CONTRACT = {"warmup_seconds": 1.0, "seconds": 10.0, "min_runs": 100}


def profile_name(host: str) -> str:
    """Name of the profile of a host: `pi@edge-1.local` becomes `edge_1_local`."""
    return re.sub(r"[^a-z0-9]+", "_", host.rpartition("@")[2].lower()).strip("_")


def detected_profile(
    host: str, *, python: str | None = None, folder: Path = FOLDER, name: str | None = None
) -> tuple[Device, Path]:
    """The profile of a host, and its file: that of an earlier call, or a new one.

    Args:
        host: Host as for `ssh`: a name of `~/.ssh/config`, an address, or `user@host`.
        python: Python on the host, with the packages of the runtime; by default `python3`.
        folder: Folder of the file.
        name: Name of the profile; by default that of the host.

    Raises:
        DeviceError: The host cannot be reached or has no runtime, or the file is that of another host.
    """
    if not re.match(HOST, host):
        raise DeviceError(gettext("{host!r} is no SSH host; give a name of ~/.ssh/config, an address, or user@host", host=host))
    name = name or profile_name(host)
    path = folder / f"{name}.yaml"
    if path.is_file():
        return _known(path, host, python), path
    connection = {"ssh": host} | ({} if python is None else {"python": python})
    fields: dict[str, object] = {
        "name": name,
        "title": host,
        "kind": "cpu",
        "runtime": "onnxruntime",
        "connection": connection,
        "precision": PRECISIONS["onnxruntime"],
        "contract": CONTRACT,
    }
    facts = inspect_device(Device.model_validate(fields))
    if facts.onnxruntime:
        runtime = f"ONNX Runtime {facts.onnxruntime}"
    elif facts.tensorrt:
        runtime = f"TensorRT {facts.tensorrt}"
        fields |= {"kind": "gpu", "runtime": "tensorrt", "precision": PRECISIONS["tensorrt"]}
    else:
        raise DeviceError(
            gettext(
                "{host} has no runtime: {reason}. Install one there: {python} -m pip install numpy onnxruntime; or name a "
                "Python that has one by --ssh-python",
                host=host,
                reason=facts.no_onnxruntime,
                python=python or "python3",
            )
        )
    fields |= _detected(facts, host)
    header = HEADER.format(
        host=host,
        date=datetime.now(UTC).date(),
        system=facts.system,
        architecture=facts.architecture,
        processors=facts.processors,
        runtime=runtime,
        name=name,
    )
    write_text(path, header + dump(fields))
    return load_device(str(path)), path


def _known(path: Path, host: str, python: str | None) -> Device:
    """An existing profile, which must be of the same host."""
    device = load_device(str(path))
    other = getattr(device.connection, "ssh", None)
    if other != host or (python is not None and getattr(device.connection, "python", None) != python):
        raise DeviceError(
            gettext(
                "{path} is the profile of another connection ({other}); give its name by --device, or rename the file",
                path=path,
                other=other or device.connection,
            )
        )
    return device


def _detected(facts: DeviceFacts, host: str) -> dict[str, object]:
    """Fields that the machine reports."""
    cpu = " ".join(facts.cpu.split())
    title = cpu or f"{facts.architecture}, {host}"
    return {"title": title} | ({"identifies_as": [cpu]} if len(cpu) > 1 else {})
