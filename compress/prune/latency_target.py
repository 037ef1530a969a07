"""Whether a target of time is met in the end, in words that hold although the machine's speed moves.

A time in ms is true for the speed that a machine had when it was taken; shared and thermally limited machines move by tens of
percent within an hour. The ratio of two networks that ran in turns does not. So a target in ms becomes a fraction of the dense
network's time at the start, cuts are judged by the fraction, and in the end the fraction is measured once more:

    reached = time of the pruned network ÷ time of the dense one, in turns
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from compress.core.record import FrozenModel, Quantity
from compress.profile.compare_networks import median_ms
from compress.prune.speedup import SpeedupMeter

if TYPE_CHECKING:
    from torch import nn

    from compress.prune.stage import Target

MOVED = 0.05
"""Change of the dense network's time from which on a machine's speed is said to have moved."""
HOW = "time of the pruned network ÷ time of the dense one at the end, ONNX Runtime here, 1 thread, batch 1, in turns"


class LatencyResult(FrozenModel):
    """A last measurement.

    Attributes:
        asked: Fraction of the dense network's time that the target stands for.
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
    def moved(self) -> float:
        """Change of the machine's time since the fraction was set; 0.1 is a tenth slower."""
        return self.dense_ms / self.dense_ms_before - 1


def reached(watch: SpeedupMeter, module: nn.Module, *, asked: float, dense_ms: float, seconds: float) -> LatencyResult:
    """Measure the end.

    Args:
        watch: Of the dense network.
        module: The pruned one.
        asked: Fraction asked for.
        dense_ms: Time of the dense network when that was set.
        seconds: Counted time of each.
    """
    race = watch.compare(module, seconds=seconds)
    gain = race.speedup
    low, high = (1 / gain.high, 1 / gain.low) if gain.low and gain.high else (None, None)
    found = 1 / gain.value if gain.value else race.ratio
    now = median_ms(race.before)
    return LatencyResult(
        asked=asked, reached=found, low=low, high=high, dense_ms_before=dense_ms, dense_ms=now, pruned_ms=median_ms(race.after)
    )


def quantity(found: LatencyResult) -> Quantity:
    """It with its provenance."""
    interval = (found.low, found.high) if found.low is not None and found.high is not None else None
    return Quantity.measured(found.reached, "fraction", HOW, interval=interval)


def told(target: Target, found: LatencyResult) -> tuple[str, ...]:
    """Whether the target is met, and whether the machine's speed moved meanwhile: a sentence for each."""
    between = f" (95 % interval {found.low:.3f} to {found.high:.3f})" if found.low is not None else ""
    asked = f"asked {found.asked:.3f}"
    if target.latency_ms is not None:
        then = found.reached * found.dense_ms_before
        asked += f", which is {target.latency_ms:g} ms at the speed of the start, where it would take {then:.3g} ms"
    verdict = f"latency at the end: {found.reached:.3f} of the dense network's time{between}, {asked}: {_verdict(found)}"
    return (verdict, *([_drift(target, found)] if abs(found.moved) > MOVED else []))


def is_missed(found: LatencyResult) -> bool:
    """Whether even the interval's lower end takes longer than was asked."""
    return (found.reached if found.low is None else found.low) > found.asked


def _verdict(found: LatencyResult) -> str:
    if found.reached <= found.asked:
        return "met"
    return "missed" if is_missed(found) else "met within what the measurement can tell"


def _drift(target: Target, found: LatencyResult) -> str:
    way = "slower" if found.moved > 0 else "faster"
    text = (
        f"this machine became {way} meanwhile: the dense network took {found.dense_ms_before:.3g} ms at the start and "
        f"{found.dense_ms:.3g} ms at the end, so times in ms from then and now do not compare; their fractions do"
    )
    if target.latency_ms is None:
        return text
    return f"{text}. target: {{latency: {found.asked:.3g}}} asks for the same without a speed in it"
