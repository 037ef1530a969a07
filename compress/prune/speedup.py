"""How much faster a pruned network is than the dense one, measured on this machine, and why when it is not.

    efficiency = (time of the dense network ÷ time of the pruned one) ÷ (MACs of the dense network ÷ MACs of the pruned one)

1 means that time fell as the multiply-accumulates did. Both run in ONNX Runtime, one thread, batch 1, in turns within one
session. Times never decide which weights go, except where a target or a rounding asks for them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import nn

from compress.config.devices import Device
from compress.core.errors import DeviceError
from compress.core.fact import Fact
from compress.models.count_macs import count_network
from compress.profile import compare_networks as stopwatch
from compress.profile.compare_networks import estimated_ms, is_calibrated, median_ms

if TYPE_CHECKING:
    from compress.profile.cost_model.operator_work import OperatorWork

ALIGNED = 4
"""ONNX Runtime's blocked convolutions take input channels in fours; other counts fall back to slower kernels."""
OVERHEAD_US = 5.0
"""Time of an operator below which starting it costs as much as what it computes."""
RIDGE = 5.0
"""Operations a byte below which a processor core waits for memory: some 100 GFLOP/s against some 20 GB/s."""


class SpeedupMeter(stopwatch.NetworkTimer):
    """Times pruned networks against the dense one."""

    def row(self, network: nn.Module, device: Device) -> dict[str, Any]:
        """What one pruned network gains: predicted, measured, and their ratio."""
        race = self.compare(network)
        by_macs = self.macs / max(count_network(network, self.spec).macs, 1)
        found = race.speedup
        measured = found.value if found.value is not None else 1 / race.ratio
        return {
            "predicted_speedup": by_macs,
            "estimated_speedup": self._estimated(network, device),
            "measured_speedup": measured,
            "low": found.low,
            "high": found.high,
            "efficiency": measured / by_macs,
            "dense_ms": median_ms(race.before),
            "pruned_ms": median_ms(race.after),
            "cause": diagnose(misaligned(network), race.work, median_ms(race.after)),
        }

    def _estimated(self, network: nn.Module, device: Device) -> float | None:
        """What the cost model predicts for the target's device; None where its profile lacks what that takes.

        On this machine only a calibrated model says more than the measurement beside it.
        """
        if device.connection == "local" and not is_calibrated(device):
            return None
        try:
            return self.estimated_baseline_ms(device) / estimated_ms(network, self.spec, device)
        except DeviceError:
            return None


def misaligned(network: nn.Module) -> int:
    """Convolutions in use whose input channels ONNX Runtime cannot take in blocks; the images' three do not count."""
    convolutions = [part for part in network.modules() if isinstance(part, nn.Conv2d)]
    return sum(part.groups == 1 and part.in_channels > ALIGNED and part.in_channels % ALIGNED > 0 for part in convolutions)


def diagnose(misaligned: int, work: Sequence[OperatorWork], latency_ms: float) -> str:
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


def has_no_speedup(before: Mapping[str, Any] | None, row: Mapping[str, Any]) -> bool:
    """Whether a step removed multiply-accumulates and gained no time against the step before, or the dense network."""
    predicted, measured = (before["predicted_speedup"], before["measured_speedup"]) if before else (1.0, 1.0)
    return bool(row["predicted_speedup"] > predicted and row["measured_speedup"] <= measured)


def no_speedup(rows: Sequence[Mapping[str, Any]]) -> tuple[Fact, ...]:
    """A fact for each step that removed multiply-accumulates without a speed-up."""
    return tuple(
        Fact.of(
            "prune.no_speedup",
            f"step {row['step']}",
            macs_ratio=row["predicted_speedup"],
            speedup=row["measured_speedup"],
            low=row.get("low"),
            high=row.get("high"),
            cause=row["cause"],
        )
        for before, row in zip((None, *rows), rows, strict=False)
        if has_no_speedup(before, row)
    )
