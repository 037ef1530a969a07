"""Properties of this machine, detected without any tool: CPU, instruction sets, cores, caches, memory, power sensors."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from pydantic import Field

from compress.config.devices.cpu_info import caches, cpu_name, cpuinfo, instruction_sets
from compress.core.frozen_model import FrozenModel


class Hardware(FrozenModel):
    """Detected properties of a machine; unknown properties are empty.

    Attributes:
        cpu: Model name.
        architecture: `x86_64`, `aarch64`, `arm64`, …
        system: Operating system and release.
        instruction_sets: Instruction sets that inference kernels use.
        cores: Physical cores.
        processors: Logical processors that this process may run on.
        memory_bytes: Main memory.
        caches_bytes: Size by level, such as `L1d`.
        virtual: Whether it runs under a hypervisor; None if unknown.
    """

    cpu: str
    architecture: str
    system: str
    instruction_sets: tuple[str, ...]
    cores: int = Field(ge=1)
    processors: int = Field(ge=1)
    memory_bytes: int = Field(gt=0)
    caches_bytes: dict[str, int] = Field(default_factory=dict)
    virtual: bool | None = None


def detect_hardware(root: Path = Path("/")) -> Hardware:
    """Describe this machine.

    Args:
        root: Folder of `proc` and `sys`; another folder in tests.
    """
    import psutil

    entries = cpuinfo(root / "proc/cpuinfo")
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Hardware(
        cpu=cpu_name(entries),
        architecture=platform.machine() or "unknown",
        system=f"{platform.system()} {platform.release()}",
        instruction_sets=instruction_sets(entries),
        cores=psutil.cpu_count(logical=False) or processors,
        processors=processors,
        memory_bytes=psutil.virtual_memory().total,
        caches_bytes=caches(root / "sys/devices/system/cpu/cpu0/cache"),
        virtual="hypervisor" in entries["flags"].split() if "flags" in entries else None,
    )
