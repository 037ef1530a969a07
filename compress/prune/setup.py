"""What a pruning needs before its first cut and measures along the way: rounding, latency target, pruner, times of the steps.

What was measured is kept in the stage's folder, so that a rerun goes on with the same decisions. Times of finished steps are a
record only; the rounding of `round_to: measure` and the cuts of a target of time on this machine depend on what was measured.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from torch import nn

from compress.config.devices import Device, load_device
from compress.core.atomic_files import write_text
from compress.core.environment import is_main, world_size
from compress.core.errors import CompressError
from compress.core.fact import Fact
from compress.core.record import Quantity
from compress.core.registry import lookup
from compress.core.stage import Candidate, Context
from compress.profile import compare_networks as stopwatch
from compress.prune import latency_target as latency
from compress.prune import resume as state
from compress.prune import speedup as speed
from compress.prune.base import Constraints, Pruner
from compress.prune.latency_log import FILE, LatencyLog, read_log
from compress.prune.schedule_settings import TIMED, has_option
from compress.prune.structured import channel_multiple as rounding
from compress.prune.structured.depth import BlockPruner
from compress.train.distributed import accelerated, run_on_main

if TYPE_CHECKING:
    from compress.prune.stage import Prune

DECIDING_SECONDS = 0.3
"""Least time of a measurement that decides something."""
FINAL_SECONDS = 1.0
"""Least time of the last measurement of a target of time."""
Value = TypeVar("Value")


class PruningSetup:
    """A pruner with its target and rounding resolved, and the clock that times its steps.

    Args:
        stage: Settings.
        candidate: The dense network as the stage was given it.
        context: Surroundings.
        parent: A copy of it.

    Attributes:
        pruner: Makes the cuts.
        removed: Fraction of the target's measure that goes in the end.
        measured: See there.

    Raises:
        ModelError: Nothing may be pruned, or the network cannot be traced.
        DeviceError: The target's device cannot be measured or estimated.
    """

    def __init__(self, stage: Prune, candidate: Candidate, context: Context, parent: nn.Module) -> None:
        self.stage, self.spec, self.context, self.parent = stage, candidate.spec, context, parent
        self.device = load_device(stage.target.device)
        self._watch: speed.SpeedupMeter | None = None
        self._notes: list[Fact] = []
        self._warnings: list[Fact] = []
        self._reached: latency.LatencyResult | None = None
        key = state.key_of(stage, context, parent)
        self.measured = read_log(context.folder / FILE, key) or self._measure(key)
        self.removed = self._removed()
        self.pruner = self._pruner()

    def _measure(self, key: str) -> LatencyLog:
        dense_ms = self._from_first(self._dense_ms) if self.stage.target.timed else None
        found = LatencyLog(key=key, dense_ms=dense_ms)
        if self.stage.granularity == "channel":
            multiple, rows = self._from_first(partial(self._rounding, dense_ms))
            found = found.model_copy(update={"round_to": multiple, "rounding": rows})
        self._write(found)
        return found

    def _dense_ms(self) -> float:
        if _is_here(self.device):
            timings, _ = self.watch.time({})
            return stopwatch.median_ms(timings[stopwatch.BASELINE])
        return stopwatch.estimated_ms(self.parent, self.spec, self.device)

    def _rounding(self, dense_ms: float | None) -> tuple[int, tuple[dict[str, Any], ...]]:
        stage = self.stage
        if isinstance(stage.round_to, int):
            return stage.round_to, ()
        if stage.round_to == "device":
            multiple, source = rounding.device_multiple(self.device)
            return multiple, ({"round_to": multiple, "note": f"{self.device.name}: {source}"},)
        kept = 1 - (stage.target.removed or 0.0)
        if stage.target.latency_ms is not None and dense_ms is not None:
            kept = min(stage.target.latency_ms / dense_ms, 0.95)
        asked = stage.target.measure
        return rounding.benchmark_multiples(
            self.parent,
            self.spec,
            kept,
            self.watch,
            measure="macs" if asked in TIMED or asked == "sparsity" else asked,
            ranking="global" if stage.ranking == "erk" else stage.ranking,
            limits=self._limits(1),
        )

    def _limits(self, round_to: int) -> Constraints:
        stage = self.stage
        return Constraints(round_to=round_to, max_ratio=stage.ceiling, protect=stage.protect, ceilings=stage.ceilings)

    def _removed(self) -> float:
        target, dense_ms = self.stage.target, self.measured.dense_ms
        if target.removed is not None:
            return target.removed
        kept = (target.latency_ms or 0.0) / (dense_ms or 1.0)
        if kept >= 1:
            self._warnings.append(Fact.of("prune.latency_target_already_met", self.device.name, dense_ms=dense_ms))
        return max(1 - kept, 0.0)

    def _pruner(self) -> Pruner:
        stage = self.stage
        more: dict[str, Any] = {}
        if stage.target.timed:
            more["meter"] = lambda module: self._from_first(partial(self._part_of_dense, module))
        if stage.granularity in ("block", "n:m"):
            more["pattern"] = stage.shape
        if stage.granularity == "layer":
            more["samples"] = next(iter(self.context.data.train.epoch(0, stage.recover.batch_size, self.context.seed))).inputs
        pruner: Pruner = lookup("granularity", stage.granularity).load()(
            self.parent,
            self.spec,
            measure=stage.target.measure,
            ranking=stage.ranking,
            limits=self._limits(self.measured.round_to),
            **more,
        )
        return pruner

    def _part_of_dense(self, module: nn.Module) -> float:
        """Time of a network as a fraction of the dense one's."""
        if _is_here(self.device):
            return self.watch.compare(module).ratio
        return stopwatch.estimated_ms(module, self.spec, self.device) / (self.measured.dense_ms or 1.0)

    @property
    def watch(self) -> speed.SpeedupMeter:
        """Times networks on this machine; made once it is needed."""
        if self._watch is None:
            seconds = max(self.stage.timing_seconds, DECIDING_SECONDS)
            self._watch = speed.SpeedupMeter(self.parent, self.spec, seconds=seconds)
        return self._watch

    def timed(self, step: int, module: nn.Module) -> None:
        """Time the network that a step left and keep the row; on the first process, and only where asked for."""
        wanted = self.stage.timing_seconds > 0 or (self.stage.target.timed and _is_here(self.device))
        if not wanted or not has_option("granularity", self.stage.granularity, "structured") or not is_main():
            return
        try:
            row = {"step": step, **self.watch.row(module, self.device)}
        except CompressError as error:
            self._notes.append(Fact.of("prune.step_not_timed", f"step {step}", error=str(error)))
            return
        earlier = tuple(row for row in self.measured.speed if row["step"] < step)
        if not speed.has_no_speedup(earlier[-1] if earlier else None, row):
            row["cause"] = ""
        self.measured = self.measured.model_copy(update={"speed": (*earlier, row)})
        self._write(self.measured)

    def finished(self, module: nn.Module) -> None:
        """Measure once more whether a target of time on this machine is met; on the first process."""
        if not self.stage.target.timed or not _is_here(self.device) or not is_main() or self.removed == 0:
            return
        seconds = DECIDING_SECONDS if self.context.smoke else max(self.stage.timing_seconds, FINAL_SECONDS)
        asked, dense_ms = 1 - self.removed, self.measured.dense_ms or 1.0
        self._reached = latency.reached(self.watch, module, asked=asked, dense_ms=dense_ms, seconds=seconds)
        facts = self._warnings if latency.is_missed(self._reached) else self._notes
        facts += latency.describe(self.stage.target, self._reached)

    def results(self) -> dict[str, Quantity]:
        """Speed-up of the last step, measured, and its efficiency; and what is left of the time, where that is the target."""
        own = {"latency_ratio": latency.quantity(self._reached)} if self._reached else {}
        return own | self._speedup()

    def _speedup(self) -> dict[str, Quantity]:
        if not self.measured.speed:
            return {"pruning_speedup": Quantity.missing("1", self._untimed())}
        last = self.measured.speed[-1]
        interval = (last["low"], last["high"]) if last["low"] is not None else None
        detail = "time of the dense network ÷ time of the pruned one, ONNX Runtime on this machine, 1 thread, batch 1, in turns"
        by_macs = "pruning_speedup ÷ (multiply-accumulates of the dense network ÷ those of the pruned one)"
        return {
            "pruning_speedup": Quantity.measured(last["measured_speedup"], "1", detail, interval=interval),
            "speedup_efficiency": Quantity.measured(last["efficiency"], "fraction", by_macs),
        }

    def _untimed(self) -> str:
        """Why no step was timed."""
        if not has_option("granularity", self.stage.granularity, "structured"):
            return "a dense runtime skips no zeros"
        if not self.stage.timing_seconds and not self.stage.target.timed:
            return "timing_seconds is 0"
        return "no step was kept, or none could be timed"

    def notes(self) -> tuple[Fact, ...]:
        """Points for review about times and rounding."""
        setting, multiple = self.stage.round_to, self.measured.round_to
        rounded = (Fact.of("prune.channel_multiple", setting, multiple=multiple),) if isinstance(setting, str) else ()
        return (*self._notes, *rounded, *self.warnings())

    def warnings(self) -> tuple[Fact, ...]:
        """The notes of most weight: a latency target that is missed or was met by the dense network, steps without speed-up."""
        return (*self._warnings, *speed.no_speedup(self.measured.speed))

    def dropped(self, module: nn.Module) -> tuple[dict[str, Any], ...]:
        """Rows of the blocks that a result lacks, where blocks are what goes."""
        return self.pruner.rows(module) if isinstance(self.pruner, BlockPruner) else ()

    def tables(self) -> dict[str, tuple[dict[str, Any], ...]]:
        """Rows of the times of the steps, and of the roundings tried out."""
        found: dict[str, tuple[dict[str, Any], ...]] = {"speed": self.measured.speed, "rounding": self.measured.rounding}
        found["latency_target"] = (self._reached.model_dump(),) if self._reached else ()
        return {name: rows for name, rows in found.items() if rows}

    def _write(self, measured: LatencyLog) -> None:
        if is_main():
            write_text(self.context.folder / FILE, measured.model_dump_json(indent=1))

    def _from_first(self, compute: Callable[[], Value]) -> Value:
        """What the first process of a launch computes, for all of them."""
        if world_size() == 1:
            return compute()
        with accelerated(self.context.device, "no") as accelerator:
            return run_on_main(accelerator, compute)


def _is_here(device: Device) -> bool:
    return device.connection == "local"
