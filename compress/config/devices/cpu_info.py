"""Processor of this machine: model, instruction sets, caches. It also runs on devices, with the standard library only."""

from __future__ import annotations

import platform
import re
from pathlib import Path

NOTABLE = (
    "avx2", "fma", "avx_vnni", "avx512f", "avx512bw", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_int8", "amx_bf16",
    "asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2",
)  # fmt: skip
"""Flags that determine the kernels of a runtime; first x86, then Arm."""
ARM_IMPLEMENTERS = {0x41: "Arm", 0x4E: "NVIDIA", 0x51: "Qualcomm", 0x61: "Apple", 0xC0: "Ampere"}


def instruction_sets(entries: dict[str, str]) -> tuple[str, ...]:
    """The flags of `NOTABLE` in the entries of /proc/cpuinfo."""
    flags = set(f"{entries.get('flags', '')} {entries.get('Features', '')}".split())
    return tuple(flag for flag in NOTABLE if flag in flags)


def cpuinfo(path: Path) -> dict[str, str]:
    """Entries of /proc/cpuinfo for the first processor; empty without this file (macOS, Windows)."""
    if not path.is_file():
        return {}
    text = path.read_text(encoding="utf-8", errors="replace")
    pairs = (line.partition(":") for line in text.splitlines() if ":" in line)
    entries: dict[str, str] = {}
    for key, _, value in pairs:
        entries.setdefault(key.strip(), value.strip())
    return entries


def cpu_name(entries: dict[str, str]) -> str:
    """Model name; on Arm Linux, which has no model name, the implementer and part number."""
    if name := entries.get("model name") or entries.get("Model"):
        return name
    if part := entries.get("CPU part"):
        code = int(entries.get("CPU implementer", "0"), 16)
        return f"{ARM_IMPLEMENTERS.get(code, f'implementer {code:#x}')} CPU part {part}"
    return platform.processor() or platform.machine() or "unknown CPU"


def caches(folder: Path) -> dict[str, int]:
    """Cache sizes in bytes by level (`L1d`, `L1i`, `L2`, `L3`); empty if the system does not report them."""
    sizes: dict[str, int] = {}
    for index in sorted(folder.glob("index*")):
        try:
            level, kind, size = ((index / name).read_text().strip() for name in ("level", "type", "size"))
        except OSError:
            continue
        suffix = {"Data": "d", "Instruction": "i"}.get(kind, "")
        if match := re.fullmatch(r"(\d+)([KMG]?)", size):
            sizes[f"L{level}{suffix}"] = int(match[1]) * {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}[match[2]]
    return sizes
