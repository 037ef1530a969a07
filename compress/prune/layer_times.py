"""Milliseconds of every layer of a network: measured on this machine, or taken from a device's cost model."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from torch import nn

from compress import graphs
from compress.devices import Device
from compress.errors import DeviceError
from compress.export.onnx import export_onnx
from compress.files import write_text
from compress.profile import cost, layers, origins
from compress.profile.stamps import middle_mean
from compress.record import InputSpec

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
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        export_onnx(module, spec, path)
        found = _measured(path, seconds) if device.connection == "local" else _estimated(path, device)
    names = {name for name, _ in module.named_modules() if name}
    times = {name: ms for name, ms in found.items() if name in names and ms > 0}
    if not times:
        msg = f"no layer's time is known on {device.name}, so importance cannot be set against it; leave per_millisecond out"
        raise DeviceError(msg)
    return times


def _measured(path: Path, seconds: float) -> dict[str, float]:
    found: dict[str, float] = {}
    for kernel in layers.measure({"network": path}, threads=1, seconds=seconds)["network"].kernels:
        found[kernel.module] = found.get(kernel.module, 0.0) + middle_mean(kernel.milliseconds)
    return found


def _estimated(path: Path, device: Device) -> dict[str, float]:
    home = {node.name: node.module for node in origins.origins_of(graphs.load(path)) if node.name}
    found: dict[str, float] = {}
    for work, ms in cost.estimate(path, device).operators:
        module = home.get(work.name, "")
        found[module] = found.get(module, 0.0) + ms
    return found


def kept(path: Path, key: str) -> dict[str, float] | None:
    """Times that an earlier attempt at this very pruning measured; None when there are none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {str(name): float(ms) for name, ms in found["times"].items()} if found["key"] == key else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def keep(times: dict[str, float], path: Path, key: str) -> None:
    """Write them for the next attempt, which must choose by the same numbers."""
    write_text(path, json.dumps({"key": key, "times": times}, indent=1))
