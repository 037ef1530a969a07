"""What the agent runs of networks that came without weights: stamps of random ones, and the graph that is made of one.

Weights are noise of the spread that they had, which is what their time depends on, if on anything.
"""

from __future__ import annotations

import base64
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from compress.config.devices import cpu_info as cpu

WEIGHTS = "weights.bin"
"""Where a network looks for its weights: beside itself."""
FILLED_TYPES = ("float32", "float16", "int8", "uint8")
"""Types of weights that are made up; others came along."""
NOISE = 1 << 16


def calibrate(order: dict[str, Any], progress: Callable[[float], None]) -> dict[str, Any]:
    """Stamp networks one after the other until the time is spent; at least one.

    Args:
        order: `networks`, each with `number` and `files`, each with `path` and `filling`; `threads`, `affinity`, `seconds`.
        progress: Told the fraction done.

    Raises:
        CompressError: The runtime does not take one.
        OSError: The disk is full.
    """
    from compress.backends.runner_protocol import pinned
    from compress.profile.layers.ort_profile import GRAPH, profile_kernels

    start = time.monotonic()
    found: list[dict[str, Any]] = []
    with pinned(order["affinity"]):
        for network in order["networks"]:
            if found and time.monotonic() - start >= order["seconds"]:
                break
            runs = []
            for file in network["files"]:
                path = fill_weights(file)
                stamps = profile_kernels(path, path.parent, threads=order["threads"], apart=True)
                graph = (path.parent / GRAPH).read_bytes()
                runs.append(
                    {
                        "names": stamps.names,
                        "nanoseconds": stamps.nanoseconds.tolist(),
                        "total_ns": stamps.total_ns,
                        "graph": base64.b64encode(graph).decode(),
                    }
                )
                shutil.rmtree(path.parent)
            found.append({"number": network["number"], "runs": runs})
            progress(len(found) / len(order["networks"]))
    return {"networks": found, "machine": machine(order["affinity"])}


def optimize(order: dict[str, Any]) -> dict[str, Any]:
    """What the runtime would run of one file; nothing is run.

    Args:
        order: `path`, `filling`, `threads`, `affinity`.
    """
    from compress.profile.layers.ort_profile import GRAPH, GraphDumpRunner

    path = fill_weights(order)
    with GraphDumpRunner(path, path.parent, threads=order["threads"], apart=True):
        graph = (path.parent / GRAPH).read_bytes()
    return {"graph": base64.b64encode(graph).decode(), "machine": machine(order["affinity"])}


def machine(affinity: list[int]) -> dict[str, Any]:
    """Processor and runtime, as a calibration names them.

    Args:
        affinity: Processors that are measured on, of which the first is looked at; empty for the system's first.
    """
    import onnxruntime

    entries = cpu.cpuinfo(Path("/proc/cpuinfo"))
    first = affinity[0] if affinity else 0
    return {
        "cpu": cpu.cpu_name(entries),
        "instruction_sets": cpu.instruction_sets(entries),
        "caches_bytes": cpu.caches(Path(f"/sys/devices/system/cpu/cpu{first}/cache")),
        "runtime": f"onnxruntime {onnxruntime.__version__}",
    }


def fill_weights(file: dict[str, Any]) -> Path:
    """The path of a network, after its weights were written beside it.

    Raises:
        OSError: The disk is full.
    """
    path = Path(file["path"])
    noise = np.random.default_rng(0).normal(size=NOISE).astype(np.float32)
    whole = np.random.default_rng(0).integers(-127, 128, NOISE, np.int8)
    with (path.parent / WEIGHTS).open("wb") as weights:
        for kind, count, spread in file["filling"]:
            values = noise * np.float32(spread) if kind.startswith("float") else whole
            weights.write(np.resize(values.astype(kind), count).tobytes())
    return path
