"""Where the agent can run: this machine, or an emulated Arm processor. Each is a command line to put before the agent's own.

The emulator looks up absolute paths below its root first. Each processor has a root of its own, whose programs are links to
one copy and whose `proc/cpuinfo` is its own: ONNX Runtime chooses its kernels by it, and crashes at import without it.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from compress.core.errors import DeviceError, nearest

QEMU = ("qemu-aarch64-static", "qemu-aarch64")
PYTHON = "usr/bin/python3.11"
READY = "ready.json"
HOW_TO_SET_UP = "run: compress verify --setup aarch64"
INSTALL_QEMU = "apt-get install qemu-user-static"


@dataclass(frozen=True)
class Processor:
    """An Arm processor that can be emulated.

    Attributes:
        part: Its part number in `/proc/cpuinfo`.
        features: Instruction set extensions, as Linux names them there.
        known_from: Boards and phones that have it, for people.
    """

    part: str
    features: str
    known_from: str


ARMV8_0 = "fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid"
ARMV8_2 = "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp"
PROCESSORS = {
    "cortex-a53": Processor("0xd03", ARMV8_0, "Raspberry Pi 3, small cores of older phones; no int8 dot product"),
    "cortex-a72": Processor("0xd08", ARMV8_0, "Raspberry Pi 4; no int8 dot product"),
    "cortex-a76": Processor("0xd0b", ARMV8_2, "Raspberry Pi 5; int8 dot product, as Cortex-A78 of phones and Jetson Orin"),
}
DEFAULT_PROCESSOR = "cortex-a76"


@dataclass(frozen=True)
class Machine:
    """Something that can run the agent.

    Attributes:
        title: For people.
        command: What stands before the agent's own arguments.
        site: Folder of its Python packages; empty where its Python finds them itself.
        environment: Its whole environment.
        emulated: Whether its time means nothing.
    """

    title: str
    command: tuple[str, ...]
    site: str
    environment: dict[str, str]
    emulated: bool


def native() -> Machine:
    """This machine, in a process of its own."""
    return Machine("this machine", (sys.executable, "-I"), "", dict(os.environ), emulated=False)


def aarch64(processor: str = DEFAULT_PROCESSOR) -> Machine:
    """An emulated Arm processor with the aarch64 build of the ONNX Runtime that this machine has.

    Args:
        processor: One of `PROCESSORS`.

    Raises:
        DeviceError: Unknown processor, no emulator, not set up, or set up for another version of ONNX Runtime.
    """
    if processor not in PROCESSORS:
        msg = f"unknown processor {processor!r}: {nearest(processor, PROCESSORS)}"
        raise DeviceError(msg)
    base, wanted = folder(), metadata.version("onnxruntime")
    found = version_ready(base)
    if found is None:
        msg = f"emulation of aarch64 is not set up in {base}; {HOW_TO_SET_UP} (about 45 MB to download, once)"
        raise DeviceError(msg)
    if found != wanted:
        msg = f"emulation of aarch64 is set up with ONNX Runtime {found}, this machine has {wanted}; {HOW_TO_SET_UP}"
        raise DeviceError(msg)
    return emulated(base, processor)


def emulated(base: Path, processor: str) -> Machine:
    """The processor whose files stand in `base`.

    Raises:
        DeviceError: No emulator.
    """
    root = base / "machines" / processor
    command = (emulator(), "-cpu", processor, "-L", str(root), str(base / "root" / PYTHON), "-I", "-S")
    title = f"emulated {processor} (aarch64)"
    return Machine(title, command, str(base / "root" / "site"), {"LC_ALL": "C.UTF-8"}, emulated=True)


def emulator() -> str:
    """Path of qemu's user-mode emulator.

    Raises:
        DeviceError: There is none; says how to install it.
    """
    found = next((path for name in QEMU if (path := shutil.which(name))), None)
    if found is None:
        msg = f"emulating aarch64 needs {QEMU[0]}, which is not on PATH; {INSTALL_QEMU}"
        raise DeviceError(msg)
    return found


def folder() -> Path:
    """Where the emulated machine is kept: `$COMPRESS_CACHE/aarch64`, else below `$XDG_CACHE_HOME` or `~/.cache`."""
    if own := os.environ.get("COMPRESS_CACHE"):
        return Path(own).expanduser().absolute() / "aarch64"
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache").absolute() / "compress" / "aarch64"


def version_ready(base: Path) -> str | None:
    """Version of ONNX Runtime that is set up in `base`; None where nothing is, or not the whole."""
    try:
        return str(json.loads((base / READY).read_text(encoding="utf-8"))["onnxruntime"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def furnish(base: Path) -> None:
    """Give each processor its root below `base/machines`: links to `base/root`, and what Linux would say of it."""
    for name, processor in PROCESSORS.items():
        root = base / "machines" / name
        cpus = root / "sys" / "devices" / "system" / "cpu"
        for place in (root / "proc", cpus):
            place.mkdir(parents=True, exist_ok=True)
        for inner in ("usr", "lib", "etc"):
            (root / inner).symlink_to(Path("../../root") / inner)
        for fact in ("possible", "present"):
            (cpus / fact).write_text("0\n", encoding="ascii")
        (root / "proc" / "cpuinfo").write_text(
            f"processor\t: 0\nBogoMIPS\t: 108.00\nFeatures\t: {processor.features}\nCPU implementer\t: 0x41\n"
            f"CPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: {processor.part}\nCPU revision\t: 0\n\n",
            encoding="ascii",
        )
