"""Inspect a device over SSH: hardware, installed runtimes, power sensors and clocks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from compress.config.devices import Device
from compress.profile.remote.session import RemoteSession
from compress.profile.remote.ssh import ssh_connection
from compress.profile.settings import remote_sensor_targets


@dataclass(frozen=True)
class DeviceFacts:
    """Hardware, software and sensors of a device.

    Attributes:
        host: SSH host of the profile.
        architecture: Output of `uname -m`.
        system: Kernel and release.
        cpu: Name of the board or processor; empty if the device does not report it.
        processors: Number of usable logical processors.
        python: Version of Python.
        free_bytes: Free space for the temporary folder.
        onnxruntime: Version; empty if not installed.
        providers: Execution providers of ONNX Runtime.
        no_onnxruntime: Why ONNX Runtime is not usable; else empty.
        tensorrt: Version that `trtexec` prints; empty if not installed.
        no_trtexec: Why `trtexec` is not usable; else empty.
        power: The first working power sensor and what it measures; empty if there is none.
        no_power: Why no power sensor works; else empty.
        clocks: Governor, clock, temperature and power mode, as far as the device reports them.
    """

    host: str
    architecture: str
    system: str
    cpu: str
    processors: int
    python: str
    free_bytes: int
    onnxruntime: str
    providers: tuple[str, ...]
    no_onnxruntime: str
    tensorrt: str
    no_trtexec: str
    power: str
    no_power: str
    clocks: Mapping[str, str]

    def missing(self, device: Device) -> str:
        """Why the device's runtime cannot measure; empty if it can."""
        return self.no_trtexec if device.runtime == "tensorrt" else self.no_onnxruntime


def inspect_device(device: Device) -> DeviceFacts:
    """Connect and inspect a device; nothing is measured, and no file remains on it.

    Raises:
        DeviceError: Its profile has no SSH connection, it cannot be reached, or the agent does not start.
    """
    where = ssh_connection(device)
    with RemoteSession(device) as remote:
        reply = remote.work({"job": "inspect", "trtexec": where.trtexec, "sensors": remote_sensor_targets(device)})
        facts = remote.facts
    return DeviceFacts(
        host=where.ssh,
        architecture=facts["architecture"],
        system=facts["system"],
        cpu=facts["cpu"],
        processors=facts["processors"],
        python=facts["python"],
        free_bytes=facts["free_bytes"],
        onnxruntime=reply.get("onnxruntime", ""),
        providers=tuple(reply.get("providers", ())),
        no_onnxruntime=reply.get("no_onnxruntime", ""),
        tensorrt=reply.get("tensorrt", ""),
        no_trtexec=reply.get("no_trtexec", ""),
        power=reply["power"],
        no_power=reply["no_power"],
        clocks=reply["clocks"],
    )
