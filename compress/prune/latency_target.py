"""Final check of a latency target, by a ratio that does not depend on the speed of the machine.

A time in ms depends on the current speed of the machine, which varies by tens of percent within an hour where the machine is
shared or thermally limited. The ratio of two networks timed in turns does not. So a target in ms becomes a fraction of the time
of the dense network at the start; the pruning steps use this fraction, and it is measured again at the end:

    reached = time of the pruned network ÷ time of the dense network, timed in turns
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from compress.core.fact import Fact
from compress.core.frozen_model import FrozenModel
from compress.core.language import gettext
from compress.core.record import Quantity
from compress.profile.compare_networks import median_ms
from compress.prune.speedup import SpeedupMeter

if TYPE_CHECKING:
    from torch import nn

    from compress.prune.stage import Target

SPEED_TOLERANCE = 0.05
"""Relative change of the time of the dense network above which the speed of the machine is reported as changed."""
HOW = (
    "time of the pruned network ÷ time of the dense network at the end, ONNX Runtime on this machine, 1 thread, batch 1, "
    "timed in turns"
)


class LatencyResult(FrozenModel):
    """The last measurement.

    Attributes:
        asked: Target, as a fraction of the time of the dense network.
        reached: Measured fraction.
        low: Lower end of its 95 % interval.
        high: Upper end of its 95 % interval.
        dense_ms_before: Time of the dense network when the target became a fraction.
        dense_ms: Time of the dense network now.
        pruned_ms: Time of the pruned network now.
    """

    asked: float
    reached: float
    low: float | None
    high: float | None
    dense_ms_before: float
    dense_ms: float
    pruned_ms: float

    @property
    def speed_change(self) -> float:
        """Relative change of the time of the dense network since the target became a fraction; 0.1 is 10 % slower."""
        return self.dense_ms / self.dense_ms_before - 1


def measure_fraction(
    meter: SpeedupMeter, module: nn.Module, *, target: float, dense_ms: float, seconds: float
) -> LatencyResult:
    """Measure the time of a pruned network as a fraction of the time of the dense network.

    Args:
        meter: Meter of the dense network.
        module: The pruned network.
        target: Fraction to reach.
        dense_ms: Time of the dense network when the target became a fraction.
        seconds: Measured time of each network.
    """
    comparison = meter.compare(module, seconds=seconds)
    speedup = comparison.speedup
    low, high = (1 / speedup.high, 1 / speedup.low) if speedup.low and speedup.high else (None, None)
    return LatencyResult(
        asked=target,
        reached=1 / speedup.value if speedup.value else comparison.ratio,
        low=low,
        high=high,
        dense_ms_before=dense_ms,
        dense_ms=median_ms(comparison.before),
        pruned_ms=median_ms(comparison.after),
    )


def quantity(result: LatencyResult) -> Quantity:
    """The measured fraction, with its provenance."""
    interval = (result.low, result.high) if result.low is not None and result.high is not None else None
    return Quantity.measured(result.reached, "fraction", gettext(HOW), interval=interval)


def describe(target: Target, result: LatencyResult) -> tuple[Fact, ...]:
    """Facts: whether the target is met, and whether the speed of the machine changed since the start."""
    in_ms = target.latency_ms is not None
    outcome = Fact.of(
        "prune.latency_target",
        reached=result.reached,
        low=result.low,
        high=result.high,
        asked=result.asked,
        asked_ms=target.latency_ms,
        reached_ms=result.reached * result.dense_ms_before if in_ms else None,
        verdict=_verdict(result),
    )
    if abs(result.speed_change) <= SPEED_TOLERANCE:
        return (outcome,)
    latency = result.asked if in_ms else None
    values = {"dense_ms_before": result.dense_ms_before, "dense_ms": result.dense_ms, "latency": latency}
    return outcome, Fact.of("prune.machine_speed_changed", **values)


def is_missed(result: LatencyResult) -> bool:
    """Whether even the lower end of the interval is above the target."""
    return (result.reached if result.low is None else result.low) > result.asked


def _verdict(result: LatencyResult) -> str:
    if result.reached <= result.asked:
        return "met"
    return "missed" if is_missed(result) else "met_within_interval"
