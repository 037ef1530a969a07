"""Measured speed-up of a pruned network over the dense network, and the likely cause of a missing speed-up.

    efficiency = (time of the dense network ÷ time of the pruned one) ÷ (MACs of the dense network ÷ MACs of the pruned one)

An efficiency of 1 means that the time fell in proportion to the multiply-accumulates. Both networks run in ONNX Runtime on this
machine, 1 thread, batch 1, timed in turns within one session.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from torch import nn

from compress.config.devices import Device
from compress.core.entries import number, number_or_none, text
from compress.core.errors import DeviceError
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.models.count_macs import count_network
from compress.profile.compare_networks import NetworkTimer, estimated_ms, is_calibrated, median_ms

if TYPE_CHECKING:
    from compress.profile.cost_model.operator_work import OperatorWork

ALIGNED = 4
"""The blocked convolutions of ONNX Runtime need input channels in multiples of 4; others run in slower kernels."""
OVERHEAD_US = 5.0
"""Time per operator, µs, below which its launch overhead dominates."""
RIDGE = 5.0
"""Operations per byte below which a processor core waits for memory: about 100 GFLOP/s ÷ 20 GB/s."""


class SpeedupMeter(NetworkTimer):
    """Times pruned networks against the dense network."""

    def row(self, network: nn.Module, device: Device) -> dict[str, object]:
        """Row of one pruned network: predicted, estimated and measured speed-up, efficiency, times, likely cause."""
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
        """Speed-up on a device by the cost model; None where its profile is incomplete or needs calibration."""
        if device.connection == "local" and not is_calibrated(device):
            return None
        try:
            return self.estimated_baseline_ms(device) / estimated_ms(network, self.spec, device)
        except DeviceError:
            return None


def misaligned(network: nn.Module) -> int:
    """Number of convolutions whose input channels ONNX Runtime cannot block; those that read the image do not count."""
    convolutions = [part for part in network.modules() if isinstance(part, nn.Conv2d)]
    return sum(part.groups == 1 and part.in_channels > ALIGNED and part.in_channels % ALIGNED > 0 for part in convolutions)


def diagnose(misaligned: int, work: Sequence[OperatorWork], latency_ms: float) -> str:
    """One sentence with the likely cause why a network with fewer multiply-accumulates is not faster.

    Args:
        misaligned: Number of convolutions whose channels do not fit the blocks of the runtime.
        work: Operators of the network.
        latency_ms: Time of the network.
    """
    if misaligned:
        return gettext(
            "channel alignment: {misaligned} convolutions have inputs that are no multiple of {aligned}; raise round_to",
            misaligned=misaligned,
            aligned=ALIGNED,
        )
    operator_us = latency_ms * 1e3 / max(len(work), 1)
    if operator_us < OVERHEAD_US:
        return gettext(
            "runtime overhead: {count} operators take {operator_us:.1f} µs each, of which much is launch overhead",
            count=len(work),
            operator_us=operator_us,
        )
    intensity = sum(item.operations for item in work) / max(4 * sum(item.elements for item in work), 1)
    if intensity < RIDGE:
        return gettext(
            "memory-bound: {intensity:.1f} operations per byte, so that a core waits for memory", intensity=intensity
        )
    return gettext("unknown: channels are aligned, and operators are large and dense; see compress profile --layers")


def has_no_speedup(before: Mapping[str, object] | None, row: Mapping[str, object]) -> bool:
    """Whether a step removed multiply-accumulates without a speed-up over the step before it (or the dense network)."""
    predicted, measured = (
        (1.0 if before is None else number(before, name)) for name in ("predicted_speedup", "measured_speedup")
    )
    return number(row, "predicted_speedup") > predicted and number(row, "measured_speedup") <= measured


def no_speedup(rows: Sequence[Mapping[str, object]]) -> tuple[Fact, ...]:
    """A fact for each step that removed multiply-accumulates without a speed-up."""
    return tuple(
        Fact.of(
            "prune.no_speedup",
            gettext("step {step}", step=row["step"]),
            macs_ratio=number(row, "predicted_speedup"),
            speedup=number(row, "measured_speedup"),
            earlier=1.0 if before is None else number(before, "measured_speedup"),
            low=number_or_none(row, "low"),
            high=number_or_none(row, "high"),
            cause=text(row, "cause"),
        )
        for before, row in zip((None, *rows), rows, strict=False)
        if has_no_speedup(before, row)
    )
