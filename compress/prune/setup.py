"""Setup of a pruning stage: channel multiple, latency target, pruner; and the measured times of the steps.

Measurements decide only for `round_to: measure`, `cost_aware: latency` and targets of time on this machine; times of finished
steps are only recorded. Measurements are stored in the folder of the stage, so that a rerun takes the same decisions.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from torch import nn

from compress.config.devices import Device, load_device
from compress.core.atomic_files import write_text
from compress.core.entries import Row, Tables, integer, number
from compress.core.environment import is_main, world_size
from compress.core.errors import CompressError
from compress.core.fact import Fact
from compress.core.language import gettext, message_of
from compress.core.record import Quantity
from compress.core.registry import lookup
from compress.core.stage import Candidate, Context
from compress.profile import compare_networks
from compress.prune import latency_target as latency
from compress.prune import speedup
from compress.prune.base import MASK, Constraints, Pruner
from compress.prune.criteria import ScoringData
from compress.prune.resume import LOG, LatencyLog, key_of, read_log
from compress.prune.schedule_settings import TIMED, has_option
from compress.prune.structured import channel_multiple
from compress.prune.structured.block_importance import BlockScoring
from compress.prune.structured.depth import BlockPruner
from compress.prune.structured.expert_scores import ExpertScoring
from compress.prune.structured.experts import ExpertPruner
from compress.prune.structured.layer_costs import layer_times
from compress.train.distributed import accelerated, resolve_device, run_on_main
from compress.train.validation_scores import validation_scores

if TYPE_CHECKING:
    from compress.prune.stage import Prune

DECIDING_SECONDS = 0.3
"""Minimum duration of a measurement that decides."""
FINAL_SECONDS = 1.0
"""Minimum duration of the final measurement of a target of time."""
Value = TypeVar("Value")


class PruningSetup:
    """The pruner of a stage, with resolved target and channel multiple, and the latency meter of its steps.

    Args:
        stage: Settings.
        candidate: The dense network, the input of the stage.
        context: Data, task, devices and folder of the run.
        parent: A copy of the dense network.

    Attributes:
        pruner: The pruner.
        removed: Fraction to remove in the end, in the measure of the target.
        log: Measurements so far.

    Raises:
        ModelError: Nothing can be pruned, or the network cannot be traced.
        DeviceError: The device of the target can be neither measured nor estimated.
    """

    def __init__(self, stage: Prune, candidate: Candidate, context: Context, parent: nn.Module) -> None:
        self.stage, self.spec, self.context, self.parent = stage, candidate.spec, context, parent
        self.device = load_device(stage.target.device)
        self._meter: speedup.SpeedupMeter | None = None
        self._notes: list[Fact] = []
        self._warnings: list[Fact] = []
        self._final_latency: latency.LatencyResult | None = None
        key = key_of(stage, context, parent)
        self.log = read_log(context.folder, key) or self._measure(key)
        self.removed = self._removed()
        self.pruner = self._pruner()

    def _measure(self, key: str) -> LatencyLog:
        dense_ms = self._from_first(self._dense_ms) if self.stage.target.timed else None
        log = LatencyLog(key=key, dense_ms=dense_ms)
        if self.stage.granularity in ("channel", "component"):
            multiple, rows = self._from_first(partial(self._rounding, dense_ms))
            log = log.model_copy(update={"round_to": multiple, "rounding": rows})
        if self.stage.cost_aware == "latency":
            layer_ms = self._from_first(lambda: layer_times(self.parent, self.spec, self.device))
            log = log.model_copy(update={"layer_ms": layer_ms})
        self._write(log)
        return log

    def _dense_ms(self) -> float:
        if _is_here(self.device):
            timings, _ = self.meter.time({})
            return compare_networks.median_ms(timings[compare_networks.BASELINE])
        return compare_networks.estimated_ms(self.parent, self.spec, self.device)

    def _rounding(self, dense_ms: float | None) -> tuple[int, tuple[Row, ...]]:
        stage = self.stage
        if isinstance(stage.round_to, int):
            return stage.round_to, ()
        if stage.round_to == "device":
            multiple, source = channel_multiple.device_multiple(self.device)
            return multiple, ({"round_to": multiple, "note": f"{self.device.name}: {source}"},)
        fraction = 1 - (stage.target.removed or 0.0)
        if stage.target.latency_ms is not None and dense_ms is not None:
            fraction = min(stage.target.latency_ms / dense_ms, 0.95)
        measure = stage.target.measure
        return channel_multiple.benchmark_multiples(
            self.parent,
            self.spec,
            fraction,
            self.meter,
            measure="macs" if measure in TIMED or measure == "sparsity" else measure,
            ranking="local" if stage.ranking == "local" else "global",
            limits=self._limits(1),
        )

    def _limits(self, round_to: int) -> Constraints:
        stage = self.stage
        return Constraints(round_to=round_to, max_ratio=stage.ceiling, protect=stage.protect, ceilings=stage.ceilings)

    def _removed(self) -> float:
        target, dense_ms = self.stage.target, self.log.dense_ms
        if target.removed is not None:
            return target.removed
        fraction = (target.latency_ms or 0.0) / (dense_ms or 1.0)
        if fraction >= 1:
            self._warnings.append(Fact.of("prune.latency_target_already_met", self.device.name, dense_ms=dense_ms))
        return max(1 - fraction, 0.0)

    def _pruner(self) -> Pruner:
        stage = self.stage
        options: dict[str, object] = {}
        if stage.target.timed:
            options["meter"] = lambda module: self._from_first(partial(self._fraction_of_dense, module))
        if stage.granularity in ("block", "n:m"):
            options["pattern"] = stage.shape
        if stage.granularity == "layer":
            first = next(iter(self.context.data.train.epoch(0, stage.recover.batch_size, self.context.seed)))
            options["scoring"] = BlockScoring(
                tuple(first.inputs.values()), stage.block_score, first.inputs.get(MASK), self._validation_loss
            )
        if stage.granularity == "expert":
            options["scoring"] = ExpertScoring(self._scoring_data(), stage.expert_score)
        if stage.granularity == "component":
            options |= {"scoring": self._scoring_data(), "rotation": stage.rotation}
        pruner: Pruner = lookup("granularity", stage.granularity).load()(
            self.parent,
            self.spec,
            measure=stage.target.measure,
            ranking=stage.ranking,
            limits=self._limits(self.log.round_to),
            **options,
        )
        return pruner

    def _scoring_data(self) -> ScoringData:
        """Training batches for a pruner that scores by itself."""
        batches = self.context.data.train.epoch(0, self.stage.recover.batch_size, self.context.seed)
        parts = tuple(islice(batches, self.stage.batches))
        return ScoringData(parts, self.context.task, device=resolve_device(self.context.device))

    def _validation_loss(self, module: nn.Module) -> float:
        return validation_scores(module, self.context).loss

    def _fraction_of_dense(self, module: nn.Module) -> float:
        """Time of a network as a fraction of the time of the dense network."""
        if _is_here(self.device):
            return self.meter.compare(module).ratio
        return compare_networks.estimated_ms(module, self.spec, self.device) / (self.log.dense_ms or 1.0)

    @property
    def meter(self) -> speedup.SpeedupMeter:
        """Meter that times networks on this machine; created at the first use."""
        if self._meter is None:
            seconds = max(self.stage.timing_seconds, DECIDING_SECONDS)
            self._meter = speedup.SpeedupMeter(self.parent, self.spec, seconds=seconds)
        return self._meter

    def time_step(self, step: int, module: nn.Module) -> None:
        """Time the network after a step and log the row; on the first process, and only where the stage times steps."""
        enabled = self.stage.timing_seconds > 0 or (self.stage.target.timed and _is_here(self.device))
        if not enabled or not has_option("granularity", self.stage.granularity, "structured") or not is_main():
            return
        try:
            row = {"step": step, **self.meter.row(module, self.device)}
        except CompressError as error:
            self._notes.append(Fact.of("prune.step_not_timed", gettext("step {step}", step=step), error=message_of(error)))
            return
        earlier = tuple(row for row in self.log.speed if integer(row, "step") < step)
        if not speedup.has_no_speedup(earlier[-1] if earlier else None, row):
            row["cause"] = ""
        self.log = self.log.model_copy(update={"speed": (*earlier, row)})
        self._write(self.log)

    def measure_target(self, module: nn.Module) -> None:
        """Measure at the end whether a target of time on this machine is met, on the first process."""
        if not self.stage.target.timed or not _is_here(self.device) or not is_main() or self.removed == 0:
            return
        seconds = DECIDING_SECONDS if self.context.smoke else max(self.stage.timing_seconds, FINAL_SECONDS)
        target, dense_ms = 1 - self.removed, self.log.dense_ms or 1.0
        self._final_latency = latency.measure_fraction(self.meter, module, target=target, dense_ms=dense_ms, seconds=seconds)
        facts = self._warnings if latency.is_missed(self._final_latency) else self._notes
        facts += latency.describe(self.stage.target, self._final_latency)

    def results(self) -> dict[str, Quantity]:
        """Measured speed-up of the last step and its efficiency; for targets of time also the remaining fraction of it."""
        final = {"latency_ratio": latency.quantity(self._final_latency)} if self._final_latency else {}
        return final | self._speedup()

    def _speedup(self) -> dict[str, Quantity]:
        if not self.log.speed:
            return {"pruning_speedup": Quantity.missing("1", self._not_timed_reason())}
        last = self.log.speed[-1]
        interval = (number(last, "low"), number(last, "high")) if last["low"] is not None else None
        detail = gettext(
            "time of the dense network ÷ time of the pruned network, ONNX Runtime on this machine, 1 thread, batch 1, "
            "timed in turns"
        )
        by_macs = gettext("pruning_speedup ÷ (multiply-accumulates of the dense network ÷ those of the pruned one)")
        return {
            "pruning_speedup": Quantity.measured(number(last, "measured_speedup"), "1", detail, interval=interval),
            "speedup_efficiency": Quantity.measured(number(last, "efficiency"), "fraction", by_macs),
        }

    def _not_timed_reason(self) -> str:
        if not has_option("granularity", self.stage.granularity, "structured"):
            return gettext("a dense runtime does not skip zeros")
        if not self.stage.timing_seconds and not self.stage.target.timed:
            return gettext("timing_seconds is 0")
        return gettext("no step was accepted, or no network could be timed")

    def notes(self) -> tuple[Fact, ...]:
        """Points for review about times and channel multiples."""
        setting, multiple = self.stage.round_to, self.log.round_to
        resolved = (Fact.of("prune.channel_multiple", setting, multiple=multiple),) if isinstance(setting, str) else ()
        return (*self._notes, *resolved, *self.warnings())

    def warnings(self) -> tuple[Fact, ...]:
        """The notes that the report shows first: a missed latency target, steps without speed-up."""
        return (*self._warnings, *speedup.no_speedup(self.log.speed))

    def pruned_parts(self, module: nn.Module) -> tuple[Row, ...]:
        """Rows of the blocks that a network lacks, or of its mixtures of experts; empty for other granularities."""
        return self.pruner.rows(module) if isinstance(self.pruner, (BlockPruner, ExpertPruner)) else ()

    def tables(self, module: nn.Module) -> Tables:
        """Rows of the times of the steps, of the roundings that were benchmarked, and of the experts of a network."""
        tables: Tables = {"speed": self.log.speed, "rounding": self.log.rounding}
        tables["experts"] = self.pruner.expert_rows(module) if isinstance(self.pruner, ExpertPruner) else ()
        tables["latency_target"] = (self._final_latency.model_dump(),) if self._final_latency else ()
        return {name: rows for name, rows in tables.items() if rows}

    def _write(self, log: LatencyLog) -> None:
        if is_main():
            write_text(self.context.folder / LOG, log.model_dump_json(indent=1))

    def _from_first(self, compute: Callable[[], Value]) -> Value:
        """Compute on the first process; all processes receive its value."""
        if world_size() == 1:
            return compute()
        with accelerated(self.context.device, "no") as accelerator:
            return run_on_main(accelerator, compute)


def _is_here(device: Device) -> bool:
    return device.connection == "local"
