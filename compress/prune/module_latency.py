"""Milliseconds of every layer of a network: measured on this machine, or taken from a device's cost model."""

from __future__ import annotations

import json
from pathlib import Path

from torch import nn

from compress.config.devices import Device
from compress.core.atomic_files import write_text
from compress.core.errors import DeviceError
from compress.core.record import InputSpec
from compress.profile.compare_networks import exported, module_latency_ms

SECONDS = 1.0
"""Time to spend on a measurement."""


def layer_times(module: nn.Module, spec: InputSpec, device: Device, *, seconds: float = SECONDS) -> dict[str, float]:
    """Time of each layer at batch 1, ms, by name of its torch module.

    Args:
        module: Left as it is.
        spec: Its input.
        device: Measured by the runtime's own profile where it is this machine, else estimated by its roofline.
        seconds: Time to spend on a measurement.

    Raises:
        DeviceError: Neither can be done; or no time could be told to belong to a layer.
    """
    with exported({"network": module}, spec) as files:
        found = module_latency_ms(files["network"], device, seconds=seconds)
    names = {name for name, _ in module.named_modules() if name}
    times = {name: ms for name, ms in found.items() if name in names and ms > 0}
    if not times:
        msg = (
            f"no layer's time is known on {device.name}, so importance cannot be set against it; leave cost_aware: latency out"
        )
        raise DeviceError(msg)
    return times


def read_times(path: Path, key: str) -> dict[str, float] | None:
    """Times that an earlier attempt at this very pruning measured; None when there are none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {str(name): float(ms) for name, ms in found["times"].items()} if found["key"] == key else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def write_times(times: dict[str, float], path: Path, key: str) -> None:
    """Write them for the next attempt, which must choose by the same numbers."""
    write_text(path, json.dumps({"key": key, "times": times}, indent=1))
