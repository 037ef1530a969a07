"""Speed-up of a pruned network over the dense one, measured on this machine, and the likely cause where there is none.

    efficiency = (time of the dense network ÷ time of the pruned one) ÷ (MACs of the dense network ÷ MACs of the pruned one)

1 means that time fell in proportion to the multiply-accumulates. Both run in ONNX Runtime, one thread, batch 1, in turns within
one session. Times decide which weights are removed only for targets of time, `round_to: measure` and `cost_aware: latency`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from torch import nn

from compress.config.devices import Device
from compress.core.entries import number, number_or_none, text
from compress.core.errors import DeviceError
from compress.core.fact import Fact
from compress.models.count_macs import count_network
from compress.profile.compare_networks import NetworkTimer, estimated_ms, is_calibrated, median_ms

if TYPE_CHECKING:
    from compress.profile.cost_model.operator_work import OperatorWork

ALIGNED = 4
"""ONNX Runtime's blocked convolutions take input channels in fours; other counts fall back to slower kernels."""
OVERHEAD_US = 5.0
"""Time of an operator below which its launch overhead dominates."""
RIDGE = 5.0
"""Operations a byte below which a processor core waits for memory: some 100 GFLOP/s against some 20 GB/s."""


class SpeedupMeter(NetworkTimer):
    """Times pruned networks against the dense one."""

    def row(self, network: nn.Module, device: Device) -> dict[str, object]:
        """Speed-up of one pruned network: predicted, measured, and their ratio."""
        comparison = self.compare(network)
        by_macs = self.macs / max(count_network(network, self.spec).macs, 1)
        speedup = comparison.speedup
        measured = speedup.value if speedup.value is not None else 1 / comparison.ratio
        return {
            "predicted_speedup": by_macs,
            "estimated_speedup": self._estimated(network, device),
            "measured_speedup": measured,
            "low": speedup.low,
            "high": speedup.high,
            "efficiency": measured / by_macs,
            "dense_ms": median_ms(comparison.before),
            "pruned_ms": median_ms(comparison.after),
            "cause": diagnose(misaligned(network), comparison.work, median_ms(comparison.after)),
        }

    def _estimated(self, network: nn.Module, device: Device) -> float | None:
        """Prediction of the cost model for the target's device; None where its profile is incomplete or needs calibration."""
        if device.connection == "local" and not is_calibrated(device):
            return None
        try:
            return self.estimated_baseline_ms(device) / estimated_ms(network, self.spec, device)
        except DeviceError:
            return None


def misaligned(network: nn.Module) -> int:
    """Convolutions whose input channels ONNX Runtime cannot block; those that read the image's channels do not count."""
    convolutions = [part for part in network.modules() if isinstance(part, nn.Conv2d)]
    return sum(part.groups == 1 and part.in_channels > ALIGNED and part.in_channels % ALIGNED > 0 for part in convolutions)


def diagnose(misaligned: int, work: Sequence[OperatorWork], latency_ms: float) -> str:
    """The likely cause that a network with fewer multiply-accumulates is not faster: one sentence.

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


def has_no_speedup(before: Mapping[str, object] | None, row: Mapping[str, object]) -> bool:
    """Whether a step removed multiply-accumulates without a speed-up over the step before, or the dense network."""
    predicted, measured = (
        (1.0 if before is None else number(before, name)) for name in ("predicted_speedup", "measured_speedup")
    )
    return number(row, "predicted_speedup") > predicted and number(row, "measured_speedup") <= measured


def no_speedup(rows: Sequence[Mapping[str, object]]) -> tuple[Fact, ...]:
    """A fact for each step that removed multiply-accumulates without a speed-up."""
    return tuple(
        Fact.of(
            "prune.no_speedup",
            f"step {row['step']}",
            macs_ratio=number(row, "predicted_speedup"),
            speedup=number(row, "measured_speedup"),
            low=number_or_none(row, "low"),
            high=number_or_none(row, "high"),
            cause=text(row, "cause"),
        )
        for before, row in zip((None, *rows), rows, strict=False)
        if has_no_speedup(before, row)
    )
