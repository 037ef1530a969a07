"""What a run was made with: package versions, processor, system. Light: nothing is imported to find out."""

from __future__ import annotations

import os
import platform
from functools import cache
from importlib import metadata

from compress import __version__

PACKAGES = (
    "accelerate", "numpy", "onnx", "onnxruntime", "onnxscript", "openvino", "safetensors", "scikit-learn", "tensorrt",
    "timm", "torch", "torch-pruning", "torchmetrics", "torchvision",
)  # fmt: skip


@cache
def versions() -> dict[str, str]:
    """Versions of the packages that results depend on; those not installed are left out."""
    found = {"compress": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


@cache
def environment() -> dict[str, str]:
    """Where a run was made."""
    from compress.config.devices import host

    machine = host()
    return {
        "processor": machine.title,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    } | versions()


def world_size() -> int:
    """Processes that `accelerate launch` or torchrun started together; 1 without them."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main() -> bool:
    """Whether this is the first of them, the one that writes."""
    return os.environ.get("RANK", "0") == "0"
