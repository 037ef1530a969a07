"""What a quantized file must be like for the devices of a recipe and for this machine. Light: enters cache keys."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from compress.config.devices import Device

MODEL_FILES = {"onnxruntime": "model.onnx", "openvino": "model.openvino.onnx", "tensorrt": "model.tensorrt.onnx"}
"""File by runtime, in the stage's folder."""

SCHEME_RUNTIMES: dict[str, tuple[str, ...]] = {
    "int8": ("onnxruntime", "openvino", "tensorrt"),
    "dynamic_int8": ("onnxruntime",),
    "weight_int8": ("onnxruntime", "openvino"),
    "weight_int4": ("onnxruntime",),
    "fp16": ("onnxruntime", "openvino", "tensorrt"),
    "bf16": ("tensorrt",),
}
"""Runtimes that take each scheme's ONNX file."""
if TYPE_CHECKING:
    Scheme = str
else:
    Scheme = Literal[("auto", *SCHEME_RUNTIMES)]
    """Values of `scheme` in a recipe. Type checkers take no literal whose values are computed."""


def runtimes_to_build(targets: tuple[Device, ...]) -> tuple[str, ...]:
    """Runtimes to make files for: of each target's runtime and those to try; `onnxruntime` is always one."""
    named = {name.partition(":")[0] for device in targets for name in (device.runtime, *device.runtimes)}
    return ("onnxruntime", *sorted((named & set(MODEL_FILES)) - {"onnxruntime"}))


def target_runtimes(targets: tuple[Device, ...]) -> tuple[str, ...]:
    """Runtimes that the targets themselves run: `onnxruntime` is one only if a target has it, or there is none."""
    named = {name.partition(":")[0] for device in targets for name in (device.runtime, *device.runtimes)}
    return tuple(sorted(named & set(MODEL_FILES))) or ("onnxruntime",)


def symmetric_activations(targets: tuple[Device, ...]) -> bool | None:
    """Whether all devices that run ONNX Runtime require activations around zero; None where they do not say so."""
    requirements = {device.precision.symmetric_activations for device in targets if device.runtime == "onnxruntime"}
    return True if requirements == {True} else None


def per_tensor_weights(targets: tuple[Device, ...]) -> bool:
    """Whether every device requires one scale per weight tensor."""
    return bool(targets) and not any(device.precision.per_channel_weights for device in targets)


def unsupported_scheme_reason(scheme: Scheme, runtimes: tuple[str, ...]) -> str | None:
    """Which of the runtimes lack a scheme, and which have it; None where all of them do."""
    lacking = [runtime for runtime in runtimes if runtime not in SCHEME_RUNTIMES.get(scheme, MODEL_FILES)]
    if not lacking:
        return None
    supporting = ", ".join(SCHEME_RUNTIMES[scheme])
    others = ", ".join(name for name, supported in SCHEME_RUNTIMES.items() if set(runtimes) <= set(supported))
    named = ", ".join(lacking)
    return f"scheme {scheme!r} is asked of {named}; runtimes that have it are {supporting}, and all targets here have {others}"


def latency_unavailable(targets: tuple[Device, ...]) -> str:
    """Why a latency cannot be a budget here."""
    named = ", ".join(device.name for device in targets) or "none"
    return f"mixed.latency_ms is measured on this machine, and no target is (targets: {named}); add host to the devices"


def local_device(targets: tuple[Device, ...]) -> Device | None:
    """The target that is this machine."""
    return next((device for device in targets if device.connection == "local"), None)


def score_batch(scheme: Scheme, targets: tuple[Device, ...], size: int) -> int:
    """Samples in one run when scores are computed: `size`, unless one sample changes the result of another.

    `dynamic_int8` quantizes a tensor with one range over the batch, so the batch is that of the target on this machine, else 1.
    """
    if scheme != "dynamic_int8":
        return size
    device = local_device(targets)
    return device.contract.batch if device else 1


@cache
def needs_7bit_weights(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether this CPU adds uint8 × int8 products in 16 bits, which saturate: x86 before VNNI."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:  # not Linux: assume a CPU without VNNI, whose files are right on both
        return True
    flags = next((line.split() for line in text.splitlines() if line.startswith("flags")), [])
    return not {"avx512_vnni", "avx_vnni"} & set(flags)
