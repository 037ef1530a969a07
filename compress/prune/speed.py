"""How much faster a pruned network is than the dense one, measured on this machine, and why when it is not.

    efficiency = (time of the dense network ÷ time of the pruned one) ÷ (MACs of the dense network ÷ MACs of the pruned one)

1 means that time fell as the multiply-accumulates did. Both run in ONNX Runtime, one thread, batch 1, in turns within one
session. Times never decide which weights go, except where a target or a rounding asks for them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from compress.devices import Device
from compress.errors import DeviceError
from compress.models.counts import count
from compress.profile import cost
from compress.profile.timing import Timing, speedup
from compress.profile.work import Work, work_of
from compress.record import InputSpec
from compress.stopwatch import exported, median_ms, timed

ALIGNED = 4
"""ONNX Runtime's blocked convolutions take input channels in fours; other counts fall back to slower kernels."""
OVERHEAD_US = 5.0
"""Time of an operator below which starting it costs as much as what it computes."""
RIDGE = 5.0
"""Operations a byte below which a processor core waits for memory: some 100 GFLOP/s against some 20 GB/s."""
_SHORTEST = 0.05


@dataclass(frozen=True, eq=False)
class Race:
    """Two networks timed in turns.

    Attributes:
        dense: The dense one.
        pruned: The other.
        work: Operators of the pruned one.
    """

    dense: Timing
    pruned: Timing
    work: tuple[Work, ...]

    @property
    def ratio(self) -> float:
        """Time of the pruned one as a fraction of the dense one's."""
        return median_ms(self.pruned) / median_ms(self.dense)


class Stopwatch:
    """Times networks against one dense network.

    Args:
        dense: Exported once.
        spec: Its input.
        seconds: Counted time of each network.
    """

    def __init__(self, dense: nn.Module, spec: InputSpec, *, seconds: float) -> None:
        self.spec, self.seconds = spec, max(seconds, _SHORTEST)
        self.macs = count(dense, spec).macs
        with exported({"dense": dense}, spec) as files:
            self._dense = files["dense"].read_bytes()

    def time(self, networks: Mapping[str, nn.Module]) -> tuple[dict[str, Timing], dict[str, tuple[Work, ...]]]:
        """Time networks by name and the dense one, called `dense`, all in turns; with their operators."""
        with exported(networks, self.spec) as made, tempfile.TemporaryDirectory() as folder:
            files = {"dense": Path(folder) / "dense.onnx", **made}
            files["dense"].write_bytes(self._dense)
            return timed(files, self.spec, seconds=self.seconds), {label: work_of(path) for label, path in files.items()}

    def race(self, network: nn.Module) -> Race:
        """Time one network against the dense one."""
        timings, work = self.time({"pruned": network})
        return Race(timings["dense"], timings["pruned"], work["pruned"])

    def row(self, network: nn.Module, device: Device) -> dict[str, Any]:
        """What one pruned network gains: predicted, measured, and their ratio."""
        race = self.race(network)
        by_macs = self.macs / max(count(network, self.spec).macs, 1)
        found = speedup(race.dense, race.pruned)
        measured = found.value if found.value is not None else 1 / race.ratio
        return {
            "predicted_speedup": by_macs,
            "estimated_speedup": self._estimated(network, device),
            "measured_speedup": measured,
            "low": found.low,
            "high": found.high,
            "efficiency": measured / by_macs,
            "dense_ms": median_ms(race.dense),
            "pruned_ms": median_ms(race.pruned),
            "cause": likely_cause(misaligned(network), race.work, median_ms(race.pruned)),
        }

    def _estimated(self, network: nn.Module, device: Device) -> float | None:
        """What the cost model predicts for the target's device; None where its profile lacks what that takes.

        On this machine only a calibrated model says more than the measurement beside it.
        """
        if device.connection == "local" and cost.calibration_of(device)[0] is None:
            return None
        try:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "dense.onnx"
                path.write_bytes(self._dense)
                dense = cost.estimate(path, device).latency_ms
            return dense / estimated_ms(network, self.spec, device)
        except DeviceError:
            return None


def estimated_ms(network: nn.Module, spec: InputSpec, device: Device) -> float:
    """Latency that the cost model gives a network, ms.

    Raises:
        DeviceError: The device's profile lacks a figure that the estimate needs.
    """
    with exported({"network": network}, spec) as files:
        return cost.estimate(files["network"], device).latency_ms


def misaligned(network: nn.Module) -> int:
    """Convolutions in use whose input channels ONNX Runtime cannot take in blocks; the images' three do not count."""
    convolutions = [part for part in network.modules() if isinstance(part, nn.Conv2d)]
    return sum(part.groups == 1 and part.in_channels > ALIGNED and part.in_channels % ALIGNED > 0 for part in convolutions)


def likely_cause(misaligned: int, work: Sequence[Work], latency_ms: float) -> str:
    """Why a network with fewer multiply-accumulates is not faster, most likely first: one sentence.

    Args:
        misaligned: Convolutions whose channels do not suit the runtime's blocks.
        work: Its operators.
        latency_ms: Its time.
    """
    if misaligned:
        return f"channel alignment: {misaligned} convolutions have inputs that are no multiple of {ALIGNED}; raise round_to"
    each_us = latency_ms * 1e3 / max(len(work), 1)
    if each_us < OVERHEAD_US:
        return f"runtime overhead: {len(work)} operators of {each_us:.1f} µs each cost as much to start as to compute"
    intensity = sum(item.operations for item in work) / max(4 * sum(item.elements for item in work), 1)
    if intensity < RIDGE:
        return f"memory-bound: {intensity:.1f} operations for each byte moved, fewer than keep a core busy"
    return "unknown: channels are aligned, operators large and dense; look at compress profile --layers"


def stalled(before: Mapping[str, Any] | None, row: Mapping[str, Any]) -> bool:
    """Whether a step removed multiply-accumulates and gained no time against the step before, or the dense network."""
    predicted, measured = (before["predicted_speedup"], before["measured_speedup"]) if before else (1.0, 1.0)
    return bool(row["predicted_speedup"] > predicted and row["measured_speedup"] <= measured)


def no_gain(rows: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """A sentence for each step that removed multiply-accumulates and gained no time."""
    return tuple(
        f"step {row['step']} removed multiply-accumulates (÷ {row['predicted_speedup']:.2f} against the dense one) and "
        f"gained no time ({row['measured_speedup']:.2f} times the dense speed{_between(row)}); likely cause: {row['cause']}"
        for before, row in zip((None, *rows), rows, strict=False)
        if stalled(before, row)
    )


def _between(row: Mapping[str, Any]) -> str:
    return f", 95 % interval {row['low']:.2f} to {row['high']:.2f}" if row.get("low") is not None else ""
