"""Machines that can run the agent: this machine, or an emulated Arm processor.

The emulator looks up absolute paths below its root folder first. Each processor has its own root: links to one copy of all
programs, and a `proc/cpuinfo` that describes the processor. ONNX Runtime selects its kernels by that file, and cannot be
imported without it.
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
from compress.core.language import gettext

QEMU = ("qemu-aarch64-static", "qemu-aarch64")
PYTHON = "usr/bin/python3.11"
READY = "ready.json"
HOW_TO_SET_UP = "run: compress verify --setup aarch64"
INSTALL_QEMU = "apt-get install qemu-user-static"


@dataclass(frozen=True)
class EmulatedProcessor:
    """An Arm processor that can be emulated.

    Attributes:
        part: Part number in `/proc/cpuinfo`.
        features: Instruction set extensions in `/proc/cpuinfo`.
        known_from: Boards and phones with this processor.
    """

    part: str
    features: str
    known_from: str


ARMV8_0 = "fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid"
ARMV8_2 = "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp"
PROCESSORS = {
    "cortex-a53": EmulatedProcessor("0xd03", ARMV8_0, "Raspberry Pi 3, small cores of older phones; no int8 dot product"),
    "cortex-a72": EmulatedProcessor("0xd08", ARMV8_0, "Raspberry Pi 4; no int8 dot product"),
    "cortex-a76": EmulatedProcessor(
        "0xd0b", ARMV8_2, "Raspberry Pi 5; int8 dot product, as Cortex-A78 of phones and Jetson Orin"
    ),
}
DEFAULT_PROCESSOR = "cortex-a76"


@dataclass(frozen=True)
class Machine:
    """A machine that can run the agent.

    Attributes:
        title: Name for messages.
        command: Command before the arguments of the agent.
        site: Folder of its Python packages; empty if its Python finds them.
        environment: Environment variables.
        emulated: Whether it is emulated, so that its latency has no meaning.
    """

    title: str
    command: tuple[str, ...]
    site: str
    environment: dict[str, str]
    emulated: bool


def native() -> Machine:
    """This machine, in a separate process."""
    return Machine("this machine", (sys.executable, "-I"), "", dict(os.environ), emulated=False)


def aarch64(processor: str = DEFAULT_PROCESSOR) -> Machine:
    """An emulated Arm processor with the aarch64 build of this machine's version of ONNX Runtime.

    Args:
        processor: One of `PROCESSORS`.

    Raises:
        DeviceError: The processor is unknown, there is no emulator, or it is not set up for this version of ONNX Runtime.
    """
    if processor not in PROCESSORS:
        msg = gettext("unknown processor {processor!r}: {hint}", processor=processor, hint=nearest(processor, PROCESSORS))
        raise DeviceError(msg)
    base, required = cache_folder(), metadata.version("onnxruntime")
    installed = installed_version(base)
    if installed is None:
        msg = gettext(
            "emulation of aarch64 is not set up in {base}; {how_to_set_up} (about 45 MB to download, once)",
            base=base,
            how_to_set_up=gettext(HOW_TO_SET_UP),
        )
        raise DeviceError(msg)
    if installed != required:
        msg = gettext(
            "emulation of aarch64 is set up with ONNX Runtime {installed}, but this machine has {required}; {how_to_set_up}",
            installed=installed,
            required=required,
            how_to_set_up=gettext(HOW_TO_SET_UP),
        )
        raise DeviceError(msg)
    return emulated(base, processor)


def emulated(base: Path, processor: str) -> Machine:
    """An emulated processor with its files in `base`.

    Raises:
        DeviceError: The emulator is not installed.
    """
    root = base / "machines" / processor
    command = (emulator(), "-cpu", processor, "-L", str(root), str(base / "root" / PYTHON), "-I", "-S")
    title = f"emulated {processor} (aarch64)"
    return Machine(title, command, str(base / "root" / "site"), {"LC_ALL": "C.UTF-8"}, emulated=True)


def emulator() -> str:
    """Path of qemu's user-mode emulator.

    Raises:
        DeviceError: It is not installed.
    """
    path = next((path for name in QEMU if (path := shutil.which(name))), None)
    if path is None:
        msg = gettext(
            "emulating aarch64 needs {qemu}, which is not on PATH; {install_qemu}", qemu=QEMU[0], install_qemu=INSTALL_QEMU
        )
        raise DeviceError(msg)
    return path


def cache_folder() -> Path:
    """Folder of the emulated machine: `$COMPRESS_CACHE/aarch64`, else below `$XDG_CACHE_HOME` or `~/.cache`."""
    if cache := os.environ.get("COMPRESS_CACHE"):
        return Path(cache).expanduser().absolute() / "aarch64"
    user_cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(user_cache) if user_cache else Path.home() / ".cache").absolute() / "compress" / "aarch64"


def installed_version(base: Path) -> str | None:
    """Version of ONNX Runtime that is set up in `base`; None if the setup is missing or incomplete."""
    try:
        return str(json.loads((base / READY).read_text(encoding="utf-8"))["onnxruntime"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def link_roots(base: Path) -> None:
    """Create the root of each processor below `base/machines`: links to `base/root`, and files that describe the processor."""
    for processor_name, processor in PROCESSORS.items():
        root = base / "machines" / processor_name
        cpus = root / "sys" / "devices" / "system" / "cpu"
        for path in (root / "proc", cpus):
            path.mkdir(parents=True, exist_ok=True)
        for part in ("usr", "lib", "etc"):
            (root / part).symlink_to(Path("../../root") / part)
        for name in ("possible", "present"):
            (cpus / name).write_text("0\n", encoding="ascii")
        (root / "proc" / "cpuinfo").write_text(
            f"processor\t: 0\nBogoMIPS\t: 108.00\nFeatures\t: {processor.features}\nCPU implementer\t: 0x41\n"
            f"CPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: {processor.part}\nCPU revision\t: 0\n\n",
            encoding="ascii",
        )
