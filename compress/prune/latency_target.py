"""Whether a latency target is met in the end, by a ratio that holds although the speed of the machine changes.

A time in ms depends on the speed of the machine at that moment, which on shared or thermally limited machines varies by tens of
percent within an hour. The ratio of two networks timed in turns does not. So a target in ms becomes a fraction of the dense
network's time at the start, pruning steps are judged by the fraction, and the fraction is measured again in the end:

    reached = time of the pruned network ÷ time of the dense one, in turns
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from compress.core.fact import Fact
from compress.core.frozen_model import FrozenModel
from compress.core.record import Quantity
from compress.profile.compare_networks import median_ms
from compress.prune.speedup import SpeedupMeter

if TYPE_CHECKING:
    from torch import nn

    from compress.prune.stage import Target

SPEED_TOLERANCE = 0.05
"""Change of the dense network's time above which the speed of the machine is reported as changed."""
HOW = "time of the pruned network ÷ time of the dense one at the end, ONNX Runtime here, 1 thread, batch 1, in turns"


class LatencyResult(FrozenModel):
    """The last measurement.

    Attributes:
        asked: Fraction of the dense network's time that the target asks for.
        reached: Fraction measured.
        low: Lower end of its 95 % interval.
        high: Upper end of it.
        dense_ms_before: Time of the dense network when the fraction was set.
        dense_ms: Time of it now.
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
        """Change of the machine's time since the fraction was set; 0.1 is a tenth slower."""
        return self.dense_ms / self.dense_ms_before - 1


def measure_fraction(meter: SpeedupMeter, module: nn.Module, *, asked: float, dense_ms: float, seconds: float) -> LatencyResult:
    """Measure the pruned network's time as a fraction of the dense one's.

    Args:
        meter: Of the dense network.
        module: The pruned one.
        asked: Fraction asked for.
        dense_ms: Time of the dense network when that was set.
        seconds: Counted time of each.
    """
    comparison = meter.compare(module, seconds=seconds)
    speedup = comparison.speedup
    low, high = (1 / speedup.high, 1 / speedup.low) if speedup.low and speedup.high else (None, None)
    return LatencyResult(
        asked=asked,
        reached=1 / speedup.value if speedup.value else comparison.ratio,
        low=low,
        high=high,
        dense_ms_before=dense_ms,
        dense_ms=median_ms(comparison.before),
        pruned_ms=median_ms(comparison.after),
    )


def quantity(result: LatencyResult) -> Quantity:
    """The fraction that was reached, with its provenance."""
    interval = (result.low, result.high) if result.low is not None and result.high is not None else None
    return Quantity.measured(result.reached, "fraction", HOW, interval=interval)


def describe(target: Target, result: LatencyResult) -> tuple[Fact, ...]:
    """Whether the target is met, and whether the speed of the machine changed meanwhile."""
    in_ms = target.latency_ms is not None
    verdict = Fact.of(
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
        return (verdict,)
    latency = result.asked if in_ms else None
    changed = {"dense_ms_before": result.dense_ms_before, "dense_ms": result.dense_ms, "latency": latency}
    return verdict, Fact.of("prune.machine_speed_changed", **changed)


def is_missed(result: LatencyResult) -> bool:
    """Whether even the lower end of the interval is longer than the target."""
    return (result.reached if result.low is None else result.low) > result.asked


def _verdict(result: LatencyResult) -> str:
    if result.reached <= result.asked:
        return "met"
    return "missed" if is_missed(result) else "met_within_interval"
