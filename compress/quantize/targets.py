"""What the devices that a recipe names, and this machine, ask of a quantized file. Light: enters stage keys."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from compress.devices import Device

FILES = {"onnxruntime": "model.onnx", "openvino": "model.openvino.onnx", "tensorrt": "model.tensorrt.onnx"}
"""File by runtime family, in the stage's folder."""


def families(targets: tuple[Device, ...]) -> tuple[str, ...]:
    """Runtime families to make files for: of each target's runtime and those to try; `onnxruntime` is always one."""
    named = {name.partition(":")[0] for device in targets for name in (device.runtime, *device.runtimes)}
    return ("onnxruntime", *sorted((named & set(FILES)) - {"onnxruntime"}))


def asked(targets: tuple[Device, ...]) -> tuple[str, ...]:
    """Runtime families that the targets themselves run: `onnxruntime` is one only if a target has it, or there is none."""
    named = {name.partition(":")[0] for device in targets for name in (device.runtime, *device.runtimes)}
    return tuple(sorted(named & set(FILES))) or ("onnxruntime",)


def here(targets: tuple[Device, ...]) -> Device | None:
    """The target that is this machine."""
    return next((device for device in targets if device.connection == "local"), None)


@cache
def saturates(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether this CPU adds uint8 × int8 products in 16 bits, which saturate: x86 before VNNI."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:  # no Linux: assume the older kind, whose files are right on both
        return True
    flags = next((line.split() for line in text.splitlines() if line.startswith("flags")), [])
    return not {"avx512_vnni", "avx_vnni"} & set(flags)
