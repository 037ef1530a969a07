"""The stage `substitute`: find operators, decide, replace kind by kind, fine-tune, report.

Everything before the fine-tuning is a function of the network, the settings and the seed. The decisions of `auto` are stored on
disk, so a resumed stage builds the same network and continues its training.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from torch import Tensor, nn

from compress.core.stage import Candidate, Context, Outcome
from compress.data.batch import Split
from compress.substitute import apply as replacing
from compress.substitute import choose_auto as choices
from compress.substitute import find_operators as survey
from compress.substitute import results as outcome
from compress.substitute.apply import Replacement
from compress.substitute.choose_auto import Decisions
from compress.substitute.find_operators import ReplaceableOperators
from compress.substitute.operator_kinds import DEPTHWISE, SQUEEZE_EXCITE
from compress.train.finetune import finetune
from compress.train.recalibrate_batchnorm import recalibrate_batchnorm
from compress.train.validation_scores import validation_scores

if TYPE_CHECKING:
    from compress.substitute.stage import Substitute

FIT_BATCH = 32
"""Batch size of the images on which replacements are fitted."""
NAMES = {DEPTHWISE: "depthwise convolutions 3×3", SQUEEZE_EXCITE: "squeeze-excite removed"}


@dataclass(eq=False)
class SubstitutionState:
    """The network between replacements, and the results so far.

    Attributes:
        module: The network with the replacements so far.
        replacements: One for each operator.
        steps: The network after each replacement.
    """

    module: nn.Module
    replacements: list[Replacement] = field(default_factory=list)
    steps: list[outcome.ReplacementStep] = field(default_factory=list)


def run(stage: Substitute, candidate: Candidate, context: Context) -> Outcome:
    """See `Substitute.run`."""
    parent = copy.deepcopy(candidate.network()).eval()
    batches = training_images(context.data.train, stage.images, context.seed)
    operators = survey.find_replaceable(stage, parent, batches[0][:2])
    decisions = choices.decide(stage, operators, parent, candidate.spec, context)
    if not any(choice.to for choice in decisions.choices):
        (context.folder / choices.FILE).unlink(missing_ok=True)
        return outcome.unchanged(stage, candidate, operators, decisions)
    state = _replace_all(stage, parent, operators, decisions, batches, candidate, context)
    history = finetune(state.module, stage.recover, parent=parent, context=context, label="substitute")
    if stage.recover.epochs:
        _note(state, "recovered", candidate, context)
    timed = outcome.measure_speedup(stage, parent, state.module, candidate.spec, context)
    (context.folder / choices.FILE).unlink(missing_ok=True)
    return Outcome(
        candidate=replace(candidate, module=state.module.eval()),
        results=outcome.results(stage, state.steps, context.task.deciding) | timed.results,
        skipped=(*operators.skipped, *outcome.left_by_auto(operators, decisions)),
        notes=(*outcome.notes(decisions, state.replacements), *history.notes, *timed.notes),
        curves=outcome.curves(state.steps, history, context.task.metric),
        tables=outcome.tables(state.steps, state.replacements, decisions, context.task.metric) | timed.tables,
    )


def training_images(split: Split, number: int, seed: int) -> tuple[Tensor, ...]:
    """Batches of at least `number` training images, or all, in a seeded order; augmented as in training."""
    batches: list[Tensor] = []
    for batch in split.epoch(0, min(FIT_BATCH, max(2, number)), seed):
        batches.append(batch.input)
        if sum(map(len, batches)) >= number:
            break
    return tuple(batches)


def _replace_all(
    stage: Substitute,
    parent: nn.Module,
    operators: ReplaceableOperators,
    decisions: Decisions,
    batches: Sequence[Tensor],
    candidate: Candidate,
    context: Context,
) -> SubstitutionState:
    """Replace kind by kind, each fitted on the network so far; recompute batch-norm statistics after each."""
    state = SubstitutionState(copy.deepcopy(parent))
    replaced_kinds = [choice for choice in decisions.choices if choice.to]
    with context.reporter.bar("substitute", len(replaced_kinds) + 1) as bar:
        _note(state, "original", candidate, context)
        bar.advance()
        for choice in replaced_kinds:
            _replace(state, choice.kind, choice.to, operators, batches, stage.kernel)
            _note(state, NAMES.get(choice.kind, f"{choice.kind} → {choice.to}"), candidate, context)
            if stage.statistics:
                _recompute_statistics(state, batches, context)
            bar.advance(note=f"{context.task.metric} {state.steps[-1].score:.3f}")
    return state


def _replace(
    state: SubstitutionState, kind: str, to: str, operators: ReplaceableOperators, batches: Sequence[Tensor], kernel: str
) -> None:
    names = operators.places[kind]
    if kind == DEPTHWISE:
        state.replacements += replacing.shrink_depthwise(state.module, names, batches, kernel)
    elif kind == SQUEEZE_EXCITE:
        state.replacements += replacing.remove_gates(state.module, operators.absorb_targets, batches)
    else:
        removed = [replacement.layer for replacement in state.replacements if replacement.removed]
        state.replacements += replacing.replace_activations(state.module, kind, to, survey.outside(names, removed))


def _recompute_statistics(state: SubstitutionState, batches: Sequence[Tensor], context: Context) -> None:
    """Recompute batch-norm statistics; keep them if the validation metric gets no worse."""
    module, last = copy.deepcopy(state.module), state.steps[-1]
    if not recalibrate_batchnorm(module, [(batch,) for batch in batches]):
        return
    result = validation_scores(module, context)
    if context.task.metric_info.gain(last.score, result.metric) >= 0:
        state.module = module
        state.steps[-1] = replace(last, scores=result.scores, score=result.metric, old_statistics=last.score)


def _note(state: SubstitutionState, name: str, candidate: Candidate, context: Context) -> None:
    """Record metric and size of the network after a step."""
    state.steps.append(outcome.ReplacementStep.of(name, state.module, candidate.spec, validation_scores(state.module, context)))
