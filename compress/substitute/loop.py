"""The work of the stage `substitute`: survey, choose, replace kind by kind, recover, write down.

Everything before the recovery is a function of the network, the stage's fields and the seed, with the choices of `auto` kept on
disk; so an attempt that continues comes to the same network and goes on with its training.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor, nn

from compress.backends.run_split import run_split
from compress.core.stage import Candidate, Context, Outcome
from compress.models.recalibrate_batchnorm import recalibrate_batchnorm
from compress.substitute import apply as replacing
from compress.substitute import choose_auto as choices
from compress.substitute import find_operators as survey
from compress.substitute import fit_batches as samples
from compress.substitute import results as outcome
from compress.substitute.apply import Replacement
from compress.substitute.choose_auto import Decisions
from compress.substitute.find_operators import ReplaceableOperators
from compress.substitute.operator_kinds import DEPTHWISE, SQUEEZE_EXCITE
from compress.train.distributed import resolve_device
from compress.train.finetune import finetune

if TYPE_CHECKING:
    from compress.substitute.stage import Substitute

NAMES = {DEPTHWISE: "depthwise convolutions 3×3", SQUEEZE_EXCITE: "squeeze-excite removed"}


@dataclass(eq=False)
class SubstitutionState:
    """An adaptation under way.

    Attributes:
        module: The network as it is by now.
        replacements: One for each place that changed.
        steps: What each replacement cost.
    """

    module: nn.Module
    replacements: list[Replacement] = field(default_factory=list)
    steps: list[outcome.ReplacementStep] = field(default_factory=list)


def run(stage: Substitute, candidate: Candidate, context: Context) -> Outcome:
    """See `Substitute.run`."""
    parent = _ready(candidate.network())
    batches = samples.images(context.data.train, stage.images, context.seed)
    found = survey.find_replaceable(stage, parent, batches[0][:2])
    chosen = choices.decide(stage, found, parent, candidate.spec, context)
    if not any(choice.to for choice in chosen.choices):
        (context.folder / choices.FILE).unlink(missing_ok=True)
        return outcome.unchanged(stage, candidate, found, chosen)
    work = _replaced(stage, parent, found, chosen, batches, candidate, context)
    history = finetune(work.module, stage.recover, parent=parent, context=context, label="substitute")
    if stage.recover.epochs:
        _note(work, "recovered", candidate, context)
    timed = outcome.measure_speedup(stage, parent, work.module, candidate.spec, context)
    (context.folder / choices.FILE).unlink(missing_ok=True)
    return Outcome(
        candidate=replace(candidate, module=work.module.eval()),
        results=outcome.results(stage, work.steps, context.task.metric) | timed.results,
        skipped=(*found.skipped, *outcome.left_by_auto(found, chosen)),
        notes=(*outcome.notes(chosen, work.replacements), *history.notes, *timed.notes),
        curves=outcome.curves(work.steps, history),
        tables=outcome.tables(work.steps, work.replacements, chosen) | timed.tables,
    )


def _ready(network: nn.Module) -> nn.Module:
    module = copy.deepcopy(network).eval()
    for parameter in module.parameters():
        parameter.requires_grad_(parameter.is_floating_point())
    return module


def _replaced(
    stage: Substitute,
    parent: nn.Module,
    found: ReplaceableOperators,
    chosen: Decisions,
    batches: Sequence[Tensor],
    candidate: Candidate,
    context: Context,
) -> SubstitutionState:
    """Kind after kind, each fitted on the network as it then is, and the statistics of batch norms after each."""
    work = SubstitutionState(copy.deepcopy(parent))
    made = [choice for choice in chosen.choices if choice.to]
    with context.reporter.bar("substitute", len(made) + 1) as bar:
        _note(work, "as given", candidate, context)
        bar.advance()
        for choice in made:
            _replace(work, choice.kind, choice.to, found, batches, stage.kernel)
            _note(work, NAMES.get(choice.kind, f"{choice.kind} → {choice.to}"), candidate, context)
            if stage.statistics:
                _resettle(work, batches, context)
            bar.advance(note=f"{context.task.metric} {work.steps[-1].score:.3f}")
    return work


def _replace(
    work: SubstitutionState, kind: str, to: str, found: ReplaceableOperators, batches: Sequence[Tensor], way: str
) -> None:
    names = found.places[kind]
    if kind == DEPTHWISE:
        work.replacements += replacing.shrink_depthwise(work.module, names, batches, way)
    elif kind == SQUEEZE_EXCITE:
        work.replacements += replacing.remove_gates(work.module, found.absorb_targets, batches)
    else:
        gone = [replacement.layer for replacement in work.replacements if replacement.removed]
        work.replacements += replacing.replace_activations(work.module, kind, to, survey.outside(names, gone))


def _resettle(work: SubstitutionState, batches: Sequence[Tensor], context: Context) -> None:
    """Statistics of batch norms anew, kept where validation does not lose by it."""
    module, last = copy.deepcopy(work.module), work.steps[-1]
    if not recalibrate_batchnorm(module, batches):
        return
    correct = _correct(module, context)
    if correct.mean() >= last.correct.mean():
        work.module = module
        work.steps[-1] = replace(last, correct=correct, old_statistics=last.score)


def _note(work: SubstitutionState, name: str, candidate: Candidate, context: Context) -> None:
    """Write down what a step left."""
    work.steps.append(outcome.ReplacementStep.of(name, work.module, candidate.spec, _correct(work.module, context)))


def _correct(module: nn.Module, context: Context) -> np.ndarray:
    """Per-sample scores on validation."""
    return run_split(module, context.data.validation, context.task, device=resolve_device(context.device)).scores
