"""Requirements on quantized files by the devices of a recipe and by this machine; fast to import, used in cache keys."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from compress.core.language import gettext

if TYPE_CHECKING:
    from compress.config.devices import Device

MODEL_FILES = {"onnxruntime": "model.onnx", "openvino": "model.openvino.onnx", "tensorrt": "model.tensorrt.onnx"}
"""Name of the file by runtime, in the stage's folder."""

SCHEME_RUNTIMES: dict[str, tuple[str, ...]] = {
    "int8": ("onnxruntime", "openvino", "tensorrt"),
    "dynamic_int8": ("onnxruntime",),
    "weight_int8": ("onnxruntime", "openvino"),
    "weight_int4": ("onnxruntime",),
    "block_int8": ("onnxruntime",),
    "fp16": ("onnxruntime", "openvino", "tensorrt"),
    "bf16": ("tensorrt",),
}
"""Runtimes that run the ONNX file of each scheme."""
BLOCK_BITS = {"weight_int4": 4, "block_int8": 8}
"""Bits of the schemes with integer weights in blocks."""
if TYPE_CHECKING:
    Scheme = str
else:
    Scheme = Literal[("auto", *SCHEME_RUNTIMES)]
    """Values of `scheme` in a recipe. Type checkers see str, because they do not support computed literals."""


def runtimes_to_build(targets: tuple[Device, ...]) -> tuple[str, ...]:
    """Runtimes to build files for: all runtimes of the targets, and always `onnxruntime`."""
    return ("onnxruntime", *sorted(_families(targets) - {"onnxruntime"}))


def target_runtimes(targets: tuple[Device, ...]) -> tuple[str, ...]:
    """Runtimes of the targets; `onnxruntime` if there is no target."""
    return tuple(sorted(_families(targets))) or ("onnxruntime",)


def _families(targets: tuple[Device, ...]) -> set[str]:
    """Runtimes of the targets without execution providers."""
    return {name.partition(":")[0] for device in targets for name in (device.runtime, *device.runtimes)} & set(MODEL_FILES)


def symmetric_activations(targets: tuple[Device, ...]) -> bool | None:
    """True if all devices with ONNX Runtime require symmetric activations; else None, and the runtime decides."""
    requirements = {device.precision.symmetric_activations for device in targets if device.runtime == "onnxruntime"}
    return True if requirements == {True} else None


def per_tensor_weights(targets: tuple[Device, ...]) -> bool:
    """Whether every device requires one scale per weight tensor."""
    return bool(targets) and not any(device.precision.per_channel_weights for device in targets)


def unsupported_scheme_reason(scheme: Scheme, runtimes: tuple[str, ...]) -> str | None:
    """Which runtimes do not support a scheme, with alternatives; None if all support it."""
    lacking = [runtime for runtime in runtimes if runtime not in SCHEME_RUNTIMES.get(scheme, MODEL_FILES)]
    if not lacking:
        return None
    supporting = ", ".join(SCHEME_RUNTIMES[scheme])
    others = ", ".join(name for name, supported in SCHEME_RUNTIMES.items() if set(runtimes) <= set(supported))
    return gettext(
        "{lacking} does not support scheme {scheme!r}, which {supporting} supports; "
        "schemes that all targets support are {others}",
        lacking=", ".join(lacking),
        scheme=scheme,
        supporting=supporting,
        others=others,
    )


def latency_unavailable(targets: tuple[Device, ...]) -> str:
    """Message that a latency budget needs a target that is this machine."""
    names = ", ".join(device.name for device in targets) or "none"
    return gettext(
        "mixed.latency_ms is measured on this machine, but no target is (targets: {names}); add host to the devices",
        names=names,
    )


def local_device(targets: tuple[Device, ...]) -> Device | None:
    """The target that is this machine."""
    return next((device for device in targets if device.connection == "local"), None)


def score_batch(scheme: Scheme, targets: tuple[Device, ...], size: int) -> int:
    """Batch size of the evaluation: `size`, unless samples of a batch influence each other.

    `dynamic_int8` uses one range for the whole batch, so the batch size is that of the target on this machine, else 1.
    """
    if scheme != "dynamic_int8":
        return size
    device = local_device(targets)
    return device.contract.batch if device else 1


def seven_bit_weights(targets: tuple[Device, ...]) -> bool:
    """Whether weights have 7 bits: a target says so, or this CPU needs them, which verifies the file."""
    stated = [bits for device in targets if (bits := device.precision.weight_bits) is not None]
    return 7 in stated or needs_7bit_weights()


@cache
def needs_7bit_weights(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether this CPU adds uint8 × int8 products in 16 bits, which saturates: x86 without VNNI."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:  # not Linux: assume no VNNI, since 7-bit weights are correct with and without it
        return True
    flags = next((line.split() for line in text.splitlines() if line.startswith("flags")), [])
    return not {"avx512_vnni", "avx_vnni"} & set(flags)
