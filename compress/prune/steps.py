"""The loop of the pruning stage: choose, remove, recover, write down; resumable after each step.

After step k the stage's folder holds `step-<k>.safetensors` and `steps.json`; a rerun goes on from there. Everything a step
does is a function of the network before it, the stage's fields, the seed and k, so the result is the same bit for bit.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from torch import nn

from compress.errors import ModelError
from compress.methods import find
from compress.prune import coverage, outcome, state
from compress.prune.cut import Limits
from compress.prune.importance import Importance, Material
from compress.prune.state import State
from compress.prune.weight import prunable
from compress.record import Curve
from compress.stage import Candidate, Context, Outcome
from compress.train.evaluate import outputs_of
from compress.train.processes import resolve_device
from compress.train.recover import recover

if TYPE_CHECKING:
    from compress.prune.stage import Prune


@dataclass(frozen=True, eq=False)
class Job:
    """What every step of one pruning is given.

    Attributes:
        stage: Settings.
        candidate: The dense network as the stage was given it.
        context: Surroundings.
        parent: A copy of it that may be trained; the reference of targets and ceilings, and the default teacher.
        pruner: Makes the cuts.
        guarded: Names of the protected modules.
    """

    stage: Prune
    candidate: Candidate
    context: Context
    parent: nn.Module
    pruner: Any
    guarded: frozenset[str]


def run(stage: Prune, candidate: Candidate, context: Context) -> Outcome:
    """See `Prune.run`."""
    parent = _ready(candidate.network())
    pruner = find("granularity", stage.granularity).load()(
        parent,
        candidate.spec,
        measure=stage.target.measure,
        ranking=stage.ranking,
        limits=Limits(round_to=stage.round_to, max_ratio=stage.ceiling, protect=stage.protect),
    )
    job = Job(stage, candidate, context, parent, pruner, coverage.protected(parent, stage.protect))
    done, module = _resume(job)
    with context.reporter.bar("prune", stage.schedule.count) as bar:
        bar.advance(done.step)
        while done.step < stage.schedule.count:
            done, module = _step(job, done, module)
            bar.advance(note=f"accuracy {done.rows[-1]['accuracy_recovered']:.3f}")
    for path in context.folder.glob("step-*"):
        path.unlink(missing_ok=True)  # several processes clean up
    return Outcome(
        candidate=replace(candidate, module=module),
        results=outcome.results(stage, candidate, parent, module, job.guarded),
        skipped=pruner.skipped,
        notes=(*done.notes, *outcome.notes(stage, parent, module)),
        curves={"accuracy over pruning steps": _curve(done), **done.curves},
        tables={"pruning_steps": done.rows, "layers": outcome.layers(stage, parent, module)},
    )


def _ready(network: nn.Module) -> nn.Module:
    module = copy.deepcopy(network).eval()
    for parameter in module.parameters():
        parameter.requires_grad_(parameter.is_floating_point())
    return module


def _resume(job: Job) -> tuple[State, nn.Module]:
    """What is finished, and the network to go on with."""
    key = state.key_of(job.stage, job.context, job.parent)
    found = state.read(job.context.folder, key)
    if found is not None and found.step:
        try:
            return found, _ready(
                state.network_of(found, job.candidate.network(), job.context.folder)
            ) if found.kept else copy.deepcopy(job.parent)
        except ModelError:  # missing or damaged: begin again
            job.context.reporter.line("prune: the checkpoint of the last step cannot be used; starting from the dense network")
    accuracy = _accuracy(job.parent, job.context)
    return State(key=key, rows=(_row(job, 0, 0.0, job.parent, accuracy, accuracy),)), copy.deepcopy(job.parent)


def _step(job: Job, done: State, module: nn.Module) -> tuple[State, nn.Module]:
    """Choose, remove, recover, write down."""
    stage, context, k = job.stage, job.context, done.step + 1
    removed = find("schedule", stage.schedule.kind).load()(k, stage.schedule.count, s_f=stage.target.removed)
    seed = context.seed + k
    cut = job.pruner.cut(module, stage.target.fraction(removed), _importance(job, module, seed, k, removed))
    pruned = _accuracy(cut.module, context)
    label = f"step-{k}"
    history = recover(
        cut.module,
        stage.recover,
        parent=job.parent,
        context=replace(context, seed=seed),
        label=label,
        after_step=cut.after_step,
    )
    if cut.after_step is not None:
        cut.after_step()
    recovered = _accuracy(cut.module, context) if stage.recover.epochs else pruned
    row = _row(job, k, removed, cut.module, pruned, recovered)
    curves = {f"{label} {name}": curve for name, curve in history.curves.items()}
    done = State(key=done.key, rows=(*done.rows, row), curves={**done.curves, **curves}, notes=cut.notes)
    state.write(done, cut.module, job.candidate.network(), context.folder)
    return done, cut.module


def _importance(job: Job, module: nn.Module, seed: int, k: int, removed: float) -> Importance:
    """Scores for one cut, with what they are computed from collected."""
    importance: Importance = find("importance", job.stage.importance).load()(seed)
    batches = job.context.data.train.epoch(k, job.stage.recover.batch_size, seed)
    material = Material(
        tuple(islice(batches, job.stage.batches)),
        job.context.task,
        device=resolve_device(job.context.device),
        removed=removed,
        prunable=tuple(prunable(module, job.guarded)),
    )
    importance.collect(module, material)
    return importance


def _row(job: Job, k: int, removed: float, module: nn.Module, pruned: float, recovered: float) -> dict[str, Any]:
    return {
        "step": k,
        "target": round(job.stage.target.fraction(removed), 6),
        **outcome.figures(module, job.candidate, job.guarded),
        "accuracy_pruned": pruned,
        "accuracy_recovered": recovered,
        "kept": True,
    }


def _accuracy(module: nn.Module, context: Context) -> float:
    outputs, targets = outputs_of(module, context.data.validation, device=resolve_device(context.device))
    return float(context.task.correct(outputs, targets).mean())


def _curve(done: State) -> Curve:
    return Curve(
        x_label="pruning step",
        y_label="validation accuracy after recovery",
        x=tuple(float(row["step"]) for row in done.rows),
        y=tuple(row["accuracy_recovered"] for row in done.rows),
    )
