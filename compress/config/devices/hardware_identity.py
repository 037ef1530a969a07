"""Comparison of the hardware that a device reports with its profile."""

from __future__ import annotations

from typing import NamedTuple

from compress.config.devices.profile_schema import Device

BOARDS = (
    "Raspberry Pi 3", "Raspberry Pi 4", "Raspberry Pi 5", "Raspberry Pi Zero 2", "Jetson Nano", "Orin Nano", "Orin NX",
    "AGX Orin", "Xavier NX", "AGX Xavier",
)  # fmt: skip
"""Boards whose device tree has their name; a title that contains one means that board."""
ARM = (*BOARDS, "Raspberry Pi", "Jetson", "Cortex-", "Snapdragon", "Exynos", "Dimensity", "Graviton", "Apple M")
X86 = ("Xeon", "EPYC", "Ryzen", "Intel Core", "Intel Atom", "Opteron", "x86")


class ReportedHardware(NamedTuple):
    """Hardware as a device reports it.

    Attributes:
        name: Board or processor; empty if the device does not report it.
        architecture: As `uname -m` prints it.
        gpu: The GPU that ran the model; empty if a processor did, or if unknown.
    """

    name: str
    architecture: str
    gpu: str = ""

    def __str__(self) -> str:
        """Text for messages."""
        return ", ".join(part for part in (self.gpu, self.name or self.architecture) if part)


def contradicts_profile(device: Device, hardware: ReportedHardware) -> bool:
    """Whether the reported hardware cannot be that of the profile: another architecture, or another board or GPU.

    Names are those of `identifies_as`, else the boards in the title of the profile. A device without a name contradicts none.
    """
    expected_architecture = _architecture_of((device.title, *device.identifies_as))
    if expected_architecture and expected_architecture != _family(hardware.architecture):
        return True
    names = device.identifies_as or _contained(BOARDS, device.title)
    reported = f"{hardware.name} {hardware.gpu}".strip()
    on_unknown_gpu = device.kind == "gpu" and not hardware.gpu and not _contained(BOARDS, " ".join(names))
    return bool(names and reported and not on_unknown_gpu and not _contained(names, reported))


def _architecture_of(texts: tuple[str, ...]) -> str:
    """`arm` or `x86` if the texts name hardware of only one of them; else empty."""
    families = {family for family, names in (("arm", ARM), ("x86", X86)) for text in texts if _contained(names, text)}
    return families.pop() if len(families) == 1 else ""


def _family(architecture: str) -> str:
    if architecture.startswith(("aarch64", "arm")):
        return "arm"
    return "x86" if architecture in ("x86_64", "amd64", "i686", "i386") else architecture


def _contained(names: tuple[str, ...], text: str) -> tuple[str, ...]:
    return tuple(name for name in names if name.casefold() in text.casefold())
