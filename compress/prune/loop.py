"""The loop of the pruning stage: choose, remove, recover, write down; resumable after each step.

After step k the stage's folder holds `step-<k>.safetensors` and `steps.json`; a rerun goes on from there. Everything a step
does is a function of the network before it, the stage's fields, the seed and k, so the result is the same bit for bit.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from torch import nn

from compress.core.errors import ModelError
from compress.core.fact import Fact
from compress.core.record import Curve, Metric
from compress.core.registry import lookup
from compress.core.stage import Candidate, Context, Outcome
from compress.models.recalibrate_batchnorm import recalibrate_batchnorm
from compress.prune import accuracy_aware_schedule, module_latency
from compress.prune import results as outcome
from compress.prune import resume as state
from compress.prune.base import PrunedModel
from compress.prune.collect_scores import Scores, compute_scores
from compress.prune.resume import ResumeState
from compress.prune.schedule_settings import has_option
from compress.prune.setup import PruningSetup
from compress.prune.sparse_training.pretraining import InitialState, train_before_pruning
from compress.prune.structured import iterative_scoring as rounds
from compress.prune.unstructured import dynamic_sparse_training as dynamic
from compress.prune.unstructured import lottery_ticket as lottery
from compress.prune.unstructured.weights import WeightMasks
from compress.prune.validation_metric import trainable_copy, validation_metric
from compress.train.distributed import resolve_device
from compress.train.finetune import finetune

if TYPE_CHECKING:
    from compress.prune.stage import Prune


@dataclass(frozen=True, eq=False)
class PruningRun:
    """What every step of one pruning is given.

    Attributes:
        stage: Settings.
        candidate: The dense network as the stage was given it.
        context: Surroundings.
        parent: A copy of it that may be trained; the reference of targets and ceilings.
        prepared: Makes the cuts and times what they leave.
        begun: What the first cut starts from.
        times: Milliseconds of each layer where importance counts for each of them.
    """

    stage: Prune
    candidate: Candidate
    context: Context
    parent: nn.Module
    prepared: PruningSetup
    begun: InitialState
    times: Mapping[str, float] | None

    @property
    def protected(self) -> frozenset[str]:
        """Names of the modules whose weights do not count as prunable."""
        return self.prepared.pruner.protected

    @property
    def metric(self) -> Metric:
        """The metric that decides, of the task."""
        return self.context.task.metric_info


def run(stage: Prune, candidate: Candidate, context: Context) -> Outcome:
    """See `Prune.run`."""
    parent = trainable_copy(candidate.network())
    prepared = PruningSetup(stage, candidate, context, parent)
    times = _times(stage, candidate, context, parent, prepared)
    job = PruningRun(
        stage, candidate, context, parent, prepared, train_before_pruning(stage, context, parent, prepared, times), times
    )
    done, module = _resume(job)
    with context.reporter.bar("prune", stage.schedule.count) as bar:
        bar.advance(done.step)
        while (removed := _following(job, done)) is not None:
            done, module = _step(job, done, module, removed)
            bar.advance(note=f"{job.metric.label} {done.rows[-1][f'{job.metric.name}_recovered']:.3f}")
    prepared.finished(module)
    cliff = _cliff(job, done)
    for path in context.folder.glob("step-*"):
        path.unlink(missing_ok=True)  # several processes clean up
    return Outcome(
        candidate=replace(candidate, module=module),
        results=outcome.results(stage, candidate, parent, module, job.protected) | prepared.results(),
        skipped=prepared.pruner.skipped,
        notes=(
            *job.begun.notes,
            *done.notes,
            *((lottery.find_winning_ticket(done.rows, job.metric),) if stage.schedule.kind == "lottery" else ()),
            *cliff,
            *outcome.notes(stage, parent, module, prepared.measured.round_to),
            *prepared.notes(),
        ),
        warnings=(*done.notes, *cliff, *prepared.warnings()),
        curves={f"{job.metric.label} over pruning steps": _curve(job, done), **job.begun.curves, **done.curves},
        tables={**prepared.tables(), "pruning_steps": done.rows, "layers": outcome.by_step(_layers(job, module), done.gone)},
    )


def _times(
    stage: Prune, candidate: Candidate, context: Context, parent: nn.Module, prepared: PruningSetup
) -> Mapping[str, float] | None:
    """Milliseconds of each layer, once measured the same for every attempt."""
    if stage.cost_aware != "latency":
        return None
    path, key = context.folder / "step-times.json", state.key_of(stage, context, parent)
    found = module_latency.read_times(path, key)
    if found is None:
        found = module_latency.layer_times(parent, candidate.spec, prepared.device)
        module_latency.write_times(found, path, key)
    return found


def _resume(job: PruningRun) -> tuple[ResumeState, nn.Module]:
    """What is finished, and the network to go on with."""
    key = state.key_of(job.stage, job.context, job.parent)
    found = state.read(job.context.folder, key)
    if found is not None and found.step:
        try:
            return found, _last(job, found)
        except ModelError:  # missing or damaged: begin again
            job.context.reporter.line("prune: the checkpoint of the last step cannot be used; starting from the dense network")
    module = copy.deepcopy(job.begun.module)
    row = _row(
        job, 0, 0.0, module, validation_metric(job.parent, job.context), validation_metric(module, job.context), kept=True
    )
    return ResumeState(key=key, rows=(row,)), module


def _last(job: PruningRun, done: ResumeState) -> nn.Module:
    """The network that the last kept step left."""
    if not done.kept:
        return copy.deepcopy(job.begun.module)
    return trainable_copy(state.network_of(done, job.candidate.network(), job.context.folder))


def _following(job: PruningRun, done: ResumeState) -> float | None:
    """Fraction that is gone after the next step; None when there is none."""
    schedule, s_f = job.stage.schedule, job.prepared.removed
    if schedule.kind == "accuracy_aware":
        return accuracy_aware_schedule.next_ratio(_tries(done), s_f=s_f, n=schedule.steps, retries=schedule.value("retries"))
    if done.step >= schedule.count:
        return None
    found: float = lookup("schedule", schedule.curve).load()(done.step + 1, schedule.count, s_f=s_f)
    return found


def _tries(done: ResumeState) -> list[tuple[float, bool]]:
    return [(row["removed"], row["kept"]) for row in done.rows[1:]]


def _step(job: PruningRun, done: ResumeState, module: nn.Module, removed: float) -> tuple[ResumeState, nn.Module]:
    """Choose, remove, recover, write down; an accuracy-aware step that lost too much is undone."""
    stage, context, k = job.stage, job.context, done.step + 1
    cut, scores = _cut(job, module, removed, k)
    pruned = validation_metric(cut.module, context)
    _rewound(job, cut, k)
    curves = _recovered(job, cut, k)
    recovered = validation_metric(cut.module, context) if stage.recover.epochs else pruned
    kept = stage.schedule.kind != "accuracy_aware" or _loss_of_metric(job, done, recovered) <= stage.schedule.value("drop")
    row = _row(job, k, removed, cut.module, pruned, recovered, kept=kept)
    notes = (*cut.notes, *scores.notes(stage.importance)) if kept else done.notes
    gone = (*done.gone, outcome.gone(_layers(job, cut.module)))
    done = ResumeState(key=done.key, rows=(*done.rows, row), curves={**done.curves, **curves}, notes=notes, gone=gone)
    if kept:
        job.prepared.timed(k, cut.module)
    state.write(done, cut.module, job.candidate.network(), context.folder)
    return done, cut.module if kept else module


def _cut(job: PruningRun, module: nn.Module, removed: float, k: int) -> tuple[PrunedModel, Scores]:
    """Make the cut of step k."""
    stage, context = job.stage, job.context
    count = rounds.count_scorings(job.prepared.pruner, stage.scorings)
    batches = stage.batches if count == 1 else -(-stage.batches // 2)

    def score(each: int, network: nn.Module) -> Scores:
        number = k + stage.schedule.count * each
        return compute_scores(
            stage, context, network, k=number, removed=removed, protected=job.protected, times=job.times, batches=batches
        )

    def resettle(network: nn.Module) -> None:
        device = resolve_device(context.device)
        images = islice(context.data.train.epoch(k, stage.recover.batch_size, context.seed), batches)
        recalibrate_batchnorm(network.to(device), [batch.inputs.to(device) for batch in images])
        network.to("cpu")

    fraction = stage.target.fraction(removed)
    return rounds.prune_iteratively(job.prepared.pruner, module, fraction, rounds=count, score=score, resettle=resettle)


def _layers(job: PruningRun, module: nn.Module) -> tuple[dict[str, Any], ...]:
    """Rows of what is left of each layer, or of the blocks that are gone."""
    return job.prepared.dropped(module) or outcome.layers(job.stage, job.parent, module)


def _loss_of_metric(job: PruningRun, done: ResumeState, value: float) -> float:
    """How much worse a value of the metric is than that of the dense network."""
    return (float(done.rows[0][f"{job.metric.name}_pruned"]) - value) * (1 if job.metric.higher_is_better else -1)


def _rewound(job: PruningRun, cut: PrunedModel, k: int) -> None:
    """Lottery tickets: keep the masks and put the weights that are left back to where they were."""
    if job.stage.schedule.kind == "lottery" and isinstance(cut.after_step, WeightMasks):
        lottery.write_masks(cut.after_step.gone, job.context.folder / f"masks-{k}.safetensors")
        lottery.rewind(cut.module, job.begun.weights)
        cut.after_step()


def _recovered(job: PruningRun, cut: PrunedModel, k: int) -> dict[str, Curve]:
    """Train what is left; the curves."""
    stage, context, label = job.stage, job.context, f"step-{k}"
    hook = _exchanging(job, cut, k)
    after_step: Callable[[], None] | None = hook or cut.after_step
    try:
        history = finetune(
            cut.module,
            stage.recover,
            parent=job.begun.teacher,
            context=replace(context, seed=context.seed + k),
            label=label,
            after_step=after_step,
        )
    finally:
        if hook is not None:
            hook.close()
    if hook is None and cut.after_step is not None:
        cut.after_step()
    curves = {f"{label} {name}": curve for name, curve in history.curves.items()}
    return curves | ({f"{label} connections exchanged": hook.exchanges.curve()} if hook is not None else {})


def _exchanging(job: PruningRun, cut: PrunedModel, k: int) -> dynamic.DropGrow | None:
    """The hook of dynamic sparse training, where the schedule asks for it."""
    schedule, recovery = job.stage.schedule, job.stage.recover
    if not has_option("schedule", schedule.kind, "exchanges") or not isinstance(cut.after_step, WeightMasks):
        return None
    steps = -(-job.context.data.train.batches(recovery.batch_size) // recovery.accumulate) * recovery.epochs
    exchanges = dynamic.DropGrowSchedule(
        schedule.value("update_every"), schedule.value("drop_fraction"), round(schedule.value("end_fraction") * steps)
    )
    masks = {name: ~gone for name, gone in cut.after_step.gone.items()}
    return dynamic.DropGrow(cut.module, masks, schedule.kind, exchanges, job.context.seed + k)


def _cliff(job: PruningRun, done: ResumeState) -> tuple[Fact, ...]:
    """Where an accuracy-aware schedule found the accuracy cliff, if it did."""
    schedule = job.stage.schedule
    if schedule.kind != "accuracy_aware":
        return ()
    losses = [_loss_of_metric(job, done, row[f"{job.metric.name}_recovered"]) for row in done.rows[1:]]
    cliff = accuracy_aware_schedule.find_cliff(_tries(done), losses, s_f=job.prepared.removed, drop=schedule.value("drop"))
    return (cliff,) if cliff else ()


def _row(
    job: PruningRun, k: int, removed: float, module: nn.Module, pruned: float, recovered: float, *, kept: bool
) -> dict[str, Any]:
    return {
        "step": k,
        "target": round(job.stage.target.fraction(removed), 6),
        "removed": removed,
        **outcome.figures(module, job.candidate, job.protected),
        f"{job.metric.name}_pruned": pruned,
        f"{job.metric.name}_recovered": recovered,
        "kept": kept,
    }


def _curve(job: PruningRun, done: ResumeState) -> Curve:
    return Curve(
        x_label="pruning step",
        y_label=f"validation {job.metric.label} after recovery",
        x=tuple(float(row["step"]) for row in done.rows),
        y=tuple(row[f"{job.metric.name}_recovered"] for row in done.rows),
    )
