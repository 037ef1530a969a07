"""Torch networks timed in turns, in ONNX Runtime on this machine: one thread, batch 1, all within one session.

For stages that change a network's structure and want to know what it brings. Each network is exported once:

    with exported({"before": one, "after": other}, spec) as files:
        timings = timed(files, spec, seconds=1.0)
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from torch import nn

from compress.export.onnx import export_onnx
from compress.profile.timing import Timing, measure
from compress.record import InputSpec


@contextmanager
def exported(networks: Mapping[str, nn.Module], spec: InputSpec) -> Iterator[dict[str, Path]]:
    """Float ONNX files of networks by name, for as long as the block runs.

    Raises:
        ConversionError: One cannot be exported.
    """
    with tempfile.TemporaryDirectory() as folder:
        files = {name: Path(folder) / f"{number}.onnx" for number, name in enumerate(networks)}
        for name, network in networks.items():
            export_onnx(network, spec, files[name])
        yield files


def timed(files: Mapping[str, Path], spec: InputSpec, *, seconds: float) -> dict[str, Timing]:
    """Time files in turns, `seconds` for each beside a fifth of that to warm up."""
    inputs = np.zeros((1, *spec.shape), np.float32)
    return measure(files, inputs, seconds=seconds, warmup_seconds=seconds / 5)


def median_ms(timing: Timing) -> float:
    """Median time of a run, ms."""
    return float(np.median(timing.milliseconds))
