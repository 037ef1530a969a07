"""Environment of a run: package versions, system, and the processes of a launch."""

from __future__ import annotations

import os
import platform
import secrets
from contextlib import suppress
from functools import cache

from compress import __version__
from compress.core.errors import DeviceError
from compress.core.language import gettext

PACKAGES = (
    "accelerate", "numpy", "onnx", "onnxruntime", "onnxscript", "openvino", "safetensors", "scikit-learn", "tensorrt",
    "timm", "torch", "torch-pruning", "torchmetrics", "torchvision",
)  # fmt: skip


@cache
def versions() -> dict[str, str]:
    """Versions of the installed packages that results depend on."""
    from importlib import metadata  # slow to import, and `compress --help` does not need it

    by_package = {"compress": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            by_package[package] = metadata.version(package)
    return by_package


def environment(processor: str) -> dict[str, str]:
    """Processor, system and package versions of a run.

    Args:
        processor: Name of the processor of this machine.
    """
    system = f"{platform.system()} {platform.release()} {platform.machine()}"
    return {"processor": processor, "system": system} | versions()


def run_token() -> str:
    """A text that identifies a run; equal in all processes of a launch on one machine."""
    if world_size() == 1:
        return secrets.token_hex(16)
    import psutil

    restarts = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    return f"{os.getppid()} {psutil.Process(os.getppid()).create_time()} {restarts}"


def world_size() -> int:
    """Number of processes that `accelerate launch` or torchrun started; 1 without them."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def check_launch() -> None:
    """Refuse a launch of several processes without ranks, each of which would run alone.

    `accelerate launch --cpu --num_processes 2` starts one process; it expects MPI to start the others and set ranks.

    Raises:
        DeviceError: accelerate should start several processes, and did not set a world size.
    """
    if {"ACCELERATE_USE_CPU", "MASTER_ADDR"} <= os.environ.keys() and "WORLD_SIZE" not in os.environ:
        msg = gettext(
            "accelerate launch was told to start several processes, and started one: on CPUs it leaves the others to MPI; "
            "use torchrun --nproc_per_node 2 -m compress …, or accelerate launch --num_processes 1"
        )
        raise DeviceError(msg)


def is_main() -> bool:
    """Whether this is the process of rank 0, which writes files and messages."""
    return os.environ.get("RANK", "0") == "0"
