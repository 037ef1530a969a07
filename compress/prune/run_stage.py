"""The loop of the pruning stage: score, remove, recover, store.

After step k the folder of the stage contains `step-<k>.safetensors` and `steps.json`, from which a rerun continues. Every step
is a function of the network before it, the fields of the stage, the seed and k, so a resumed run gives the same bits.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

from torch import nn

from compress.core.entries import Row, integer, number
from compress.core.errors import ModelError
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.metric_limits import allowed_loss
from compress.core.record import Curve
from compress.core.registry import lookup
from compress.core.stage import Candidate, Context, Outcome
from compress.prune import results, schedules
from compress.prune.base import PrunedModel
from compress.prune.collect_scores import Scorer, Scores
from compress.prune.results import validation_metric
from compress.prune.resume import ResumeState, key_of, load_network, read_state, write_state
from compress.prune.schedule_settings import has_option
from compress.prune.setup import PruningSetup
from compress.prune.sparse_training.pretraining import train_before_pruning
from compress.prune.structured.iterative_scoring import count_scorings, prune_iteratively
from compress.prune.unstructured import dynamic_sparse_training as dynamic
from compress.prune.unstructured import lottery_ticket as lottery
from compress.prune.unstructured.weights import WeightMasks
from compress.train.distributed import resolve_device
from compress.train.finetune import finetune
from compress.train.recalibrate_batchnorm import recalibrate_batchnorm

if TYPE_CHECKING:
    from compress.prune.stage import Prune


class PruningRun:
    """One run of a pruning stage.

    Args:
        stage: Settings.
        candidate: The dense network.
        context: Data, task, devices and folder of the run.
    """

    def __init__(self, stage: Prune, candidate: Candidate, context: Context) -> None:
        self.stage, self.candidate, self.context, self.metric = stage, candidate, context, context.task.metric_info
        self.parent = copy.deepcopy(candidate.network()).eval()
        self.setup = PruningSetup(stage, candidate, context, self.parent)
        self.protected = self.setup.pruner.protected
        self.scorer = Scorer(stage, context, self.protected, self.setup.log.layer_ms)
        self.initial = train_before_pruning(self.scorer, self.parent, self.setup)

    def execute(self) -> Outcome:
        """Run the remaining steps and return the record of all steps."""
        state, module = self._resume()
        with self.context.reporter.bar("prune", self.stage.schedule.count) as bar:
            bar.advance(state.step)
            while (removed := self._next_ratio(state)) is not None:
                state, module = self._step(state, module, removed)
                bar.advance(note=f"{self.metric.label} {state.rows[-1][f'{self.metric.name}_recovered']:.3f}")
        self.setup.measure_target(module)
        for path in self.context.folder.glob("step-*"):
            path.unlink(missing_ok=True)  # another process may remove it first
        return self._outcome(state, module)

    def _outcome(self, state: ResumeState, module: nn.Module) -> Outcome:
        stage, setup, cliff = self.stage, self.setup, self._cliff(state)
        ticket = (lottery.find_winning_ticket(state.rows, self.metric),) if stage.schedule.kind == "lottery" else ()
        rows = results.by_step(self._layer_rows(module), state.removed_fractions)
        return Outcome(
            candidate=replace(self.candidate, module=module),
            results=results.results(stage, self.candidate, self.parent, module, self.protected) | setup.results(),
            skipped=setup.pruner.skipped,
            notes=(
                *self.initial.notes,
                *state.notes,
                *ticket,
                *cliff,
                *results.notes(stage, self.parent, module, setup.log.round_to),
                *setup.notes(),
            ),
            warnings=(*state.notes, *cliff, *setup.warnings()),
            curves={f"{self.metric.label} over pruning steps": self._curve(state), **self.initial.curves, **state.curves},
            tables={**setup.tables(module), "pruning_steps": state.rows, "layers": rows},
        )

    def _resume(self) -> tuple[ResumeState, nn.Module]:
        """The finished steps, and the network to continue with."""
        key = key_of(self.stage, self.context, self.parent)
        state = read_state(self.context.folder, key)
        if state is not None and state.step:
            try:
                return state, self._last_accepted(state)
            except ModelError:  # missing or damaged weights
                self.context.reporter.line(
                    gettext("prune: the checkpoint of the last step is missing or damaged; starting from the dense network")
                )
        module = copy.deepcopy(self.initial.module)
        before, after = (validation_metric(network, self.context) for network in (self.parent, module))
        return ResumeState(key=key, rows=(self._row(0, 0.0, module, before, after, is_accepted=True),)), module

    def _last_accepted(self, state: ResumeState) -> nn.Module:
        """The network after the last accepted step."""
        if not state.last_accepted_step:
            return copy.deepcopy(self.initial.module)
        return load_network(state, self.candidate.network(), self.context.folder)

    def _next_ratio(self, state: ResumeState) -> float | None:
        """Fraction removed after the next step; None when all steps are done."""
        schedule, s_f = self.stage.schedule, self.setup.removed
        if schedule.kind == "accuracy_aware":
            return schedules.next_ratio(_tries(state), s_f=s_f, n=schedule.steps, retries=int(schedule.value("retries")))
        if state.step >= schedule.count:
            return None
        ratio: float = lookup("schedule", schedule.curve).load()(state.step + 1, schedule.count, s_f=s_f)
        return ratio

    def _step(self, state: ResumeState, module: nn.Module, removed: float) -> tuple[ResumeState, nn.Module]:
        """Score, remove, recover, store; an accuracy-aware step that loses too much is undone."""
        stage, context, k = self.stage, self.context, state.step + 1
        pruned, scores = self._prune(module, removed, k)
        before = validation_metric(pruned.module, context)
        self._rewind(pruned, k)
        curves = self._recover(pruned, k)
        after = validation_metric(pruned.module, context) if stage.recover.epochs else before
        is_accepted = stage.schedule.kind != "accuracy_aware" or self._metric_loss(state, after) <= self._allowed_loss(state)
        next_module = pruned.module if is_accepted else module
        state = ResumeState(
            key=state.key,
            rows=(*state.rows, self._row(k, removed, pruned.module, before, after, is_accepted=is_accepted)),
            curves={**state.curves, **curves},
            notes=(*pruned.notes, *scores.notes(stage.importance)) if is_accepted else state.notes,
            removed_fractions=(*state.removed_fractions, results.removed_fractions(self._layer_rows(next_module))),
        )
        if is_accepted:
            self.setup.time_step(k, pruned.module)
        write_state(state, pruned.module, self.candidate.network(), context.folder)
        return state, next_module

    def _prune(self, module: nn.Module, removed: float, k: int) -> tuple[PrunedModel, Scores]:
        """The network after the removals of step k, before recovery; and the scores."""
        stage, context = self.stage, self.context
        rounds = count_scorings(self.setup.pruner, stage.scorings)
        batches = stage.batches if rounds == 1 else -(-stage.batches // 2)

        def score(index: int, network: nn.Module) -> Scores:
            return self.scorer.score(network, k=k + stage.schedule.count * index, removed=removed, batches=batches)

        def recalibrate(network: nn.Module) -> None:
            device = resolve_device(context.device)
            samples = islice(context.data.train.epoch(k, stage.recover.batch_size, context.seed), batches)
            inputs = [tuple(batch.to(device).inputs.values()) for batch in samples]
            recalibrate_batchnorm(network.to(device), inputs)
            network.to("cpu")

        fraction = stage.target.fraction(removed)
        return prune_iteratively(self.setup.pruner, module, fraction, rounds=rounds, score=score, recalibrate=recalibrate)

    def _rewind(self, pruned: PrunedModel, k: int) -> None:
        """For lottery tickets: store the masks and rewind the remaining weights."""
        if self.stage.schedule.kind == "lottery" and isinstance(pruned.after_step, WeightMasks):
            lottery.write_masks(pruned.after_step.removals, self.context.folder / f"masks-{k}.safetensors")
            lottery.rewind(pruned.module, self.initial.weights)
            pruned.after_step()

    def _recover(self, pruned: PrunedModel, k: int) -> dict[str, Curve]:
        """Train the pruned network and return the training curves."""
        stage, context, label = self.stage, self.context, f"step-{k}"
        hook = self._drop_grow_hook(pruned, k)
        after_step: Callable[[], None] | None = hook or pruned.after_step
        try:
            history = finetune(
                pruned.module,
                stage.recover,
                parent=self.initial.teacher,
                context=replace(context, seed=context.seed + k),
                label=label,
                after_step=after_step,
            )
        finally:
            if hook is not None:
                hook.close()
        if hook is None and pruned.after_step is not None:
            pruned.after_step()
        curves = {f"{label} {name}": curve for name, curve in history.curves.items()}
        return curves | ({f"{label} connections exchanged": hook.exchanges.curve()} if hook is not None else {})

    def _drop_grow_hook(self, pruned: PrunedModel, k: int) -> dynamic.DropGrow | None:
        """Hook of dynamic sparse training; None for other schedules."""
        schedule, recovery = self.stage.schedule, self.stage.recover
        if not has_option("schedule", schedule.kind, "exchanges") or not isinstance(pruned.after_step, WeightMasks):
            return None
        steps = -(-self.context.data.train.batches(recovery.batch_size) // recovery.accumulate) * recovery.epochs
        exchanges = dynamic.DropGrowSchedule(
            int(schedule.value("update_every")), schedule.value("drop_fraction"), round(schedule.value("end_fraction") * steps)
        )
        masks = {name: ~removal for name, removal in pruned.after_step.removals.items()}
        return dynamic.DropGrow(pruned.module, masks, schedule.kind, exchanges, self.context.seed + k)

    def _layer_rows(self, module: nn.Module) -> tuple[Row, ...]:
        """Rows of the dropped blocks or of the experts, or else of the layers."""
        return self.setup.pruned_parts(module) or results.layers(self.stage, self.parent, module)

    def _metric_loss(self, state: ResumeState, value: float) -> float:
        """Loss of the metric against the dense network, at least 0 where the value is worse."""
        return -self.metric.gain(self._dense_metric(state), value)

    def _dense_metric(self, state: ResumeState) -> float:
        return number(state.rows[0], f"{self.metric.name}_pruned")

    def _allowed_loss(self, state: ResumeState) -> float:
        """Largest loss of the metric at which an accuracy-aware step is accepted."""
        return allowed_loss(self.stage.schedule.value("drop"), self.metric, lambda: self._dense_metric(state))

    def _cliff(self, state: ResumeState) -> tuple[Fact, ...]:
        """The accuracy cliff of an accuracy-aware schedule, where there is one."""
        schedule = self.stage.schedule
        if schedule.kind != "accuracy_aware":
            return ()
        losses = [self._metric_loss(state, number(row, f"{self.metric.name}_recovered")) for row in state.rows[1:]]
        cliff = schedules.find_cliff(_tries(state), losses, s_f=self.setup.removed, drop=self._allowed_loss(state))
        return (cliff,) if cliff else ()

    def _row(
        self, k: int, removed: float, module: nn.Module, before: float, after: float, *, is_accepted: bool
    ) -> dict[str, object]:
        """Row of the table of steps; `before` and `after` are the metric before and after recovery."""
        return {
            "step": k,
            "target": round(self.stage.target.fraction(removed), 6),
            "removed": removed,
            **results.figures(module, self.candidate, self.protected),
            f"{self.metric.name}_pruned": before,
            f"{self.metric.name}_recovered": after,
            "kept": is_accepted,
        }

    def _curve(self, state: ResumeState) -> Curve:
        """The metric over the accepted steps."""
        rows = [row for row in state.rows if row["kept"]]
        return Curve(
            x_label="pruning step",
            y_label=f"{self.metric.name}_recovered",
            x=tuple(float(integer(row, "step")) for row in rows),
            y=tuple(number(row, f"{self.metric.name}_recovered") for row in rows),
        )


def _tries(state: ResumeState) -> list[tuple[float, bool]]:
    return [(number(row, "removed"), row["kept"] is True) for row in state.rows[1:]]
