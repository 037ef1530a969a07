"""After each stage: is what it gave usable, and what is it worth."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from compress.core.atomic_files import sha256
from compress.core.errors import ModelError
from compress.core.record import Fact, Metrics
from compress.core.stage import Candidate, Context, Outcome, missing_metrics
from compress.pipeline.scorecard import counts, drop, gain, module_correct, proportion, score
from compress.pipeline.stage_output import FLOAT_ONNX, StageOutput, save_scores

if TYPE_CHECKING:
    import numpy as np

    from compress.pipeline.pending_stage import PendingStage

CONTROL = "control.safetensors"
CONTROL_NAME = "the student trained alone for as long"


@dataclass(frozen=True)
class Evaluation:
    """The scorecard after a stage, figures on test that the stage itself must not look at, notes, and which nobody may miss."""

    card: Metrics
    results: Metrics = field(default_factory=dict)
    notes: tuple[Fact | str, ...] = ()
    warnings: tuple[Fact, ...] = ()


def checked(candidate: Candidate, stage: str) -> None:
    """Refuse a network whose answers have the wrong shape or are not numbers.

    Raises:
        ModelError: Saying which stage left it so.
    """
    if candidate.module is None:
        return
    import torch

    with torch.no_grad():
        outputs = candidate.module(torch.zeros(2, *candidate.spec.shape))
    expected = (2, len(candidate.spec.classes))
    if tuple(outputs.shape) != expected:
        msg = f"after {stage} the network gives outputs of shape {tuple(outputs.shape)} where {expected} is needed"
        raise ModelError(msg)
    if not torch.isfinite(outputs).all():
        msg = f"after {stage} the network's outputs are not finite numbers; lower its learning rate, or check the weights"
        raise ModelError(msg)


def evaluate(
    step: PendingStage, outcome: Outcome, context: Context, *, reference: StageOutput | None, same: bool
) -> Evaluation:
    """Measure what a stage gave.

    Args:
        step: The stage.
        outcome: What it gave.
        context: Its surroundings; the float ONNX file and the per-sample scores are left in its folder.
        reference: What accuracy is compared with; None when this is the first network of all.
        same: Whether the stage gave back the candidate that it was given.
    """
    candidate = outcome.candidate
    if not step.trained:
        return Evaluation(missing_metrics("fresh weights") | counts(candidate.network(), context.data))
    if same or _same_bytes(candidate, step.previous):
        if step.previous and (correct := step.previous.correct()) is not None:
            save_scores(correct, context.folder)
        return Evaluation(step.before)
    file, notes = _onnx_file(candidate, context)
    rival = step.previous.onnx() if step.previous else None
    scored = score(candidate, file, context.data, context.task, step.before, rival=rival)
    save_scores(scored.correct, context.folder)
    card = dict(scored.card)
    if reference and (correct := reference.correct()) is not None:
        card[f"{context.task.metric}_drop"] = drop(correct, scored.correct, f"the {reference.record.name}")
    control = _control(candidate, context, scored.correct)
    warnings = unearned(control, context.task.metric)
    return Evaluation(card, scored.gain | control, (*notes, *warnings), warnings)


def _onnx_file(candidate: Candidate, context: Context) -> tuple[Path, tuple[str, ...]]:
    if candidate.module is None:
        return candidate.shipped[1], ()
    from compress.backends.export_onnx import export_onnx

    path = context.folder / FLOAT_ONNX
    return path, export_onnx(candidate.module, candidate.spec, path)


def _same_bytes(candidate: Candidate, previous: StageOutput | None) -> bool:
    if candidate.module is not None or previous is None or previous.record.form != "onnx":
        return False
    before = previous.onnx()
    runtime, file = candidate.shipped
    return before is not None and runtime == "onnxruntime" and sha256(before) == sha256(file)


def _control(candidate: Candidate, context: Context, correct: np.ndarray) -> Metrics:
    """Accuracy on test of the control network that a distilling stage trained, and what the student is better by."""
    path = context.folder / CONTROL
    if not path.exists() or candidate.module is None:
        return {}
    import copy

    from safetensors.torch import load_model

    control = copy.deepcopy(candidate.module)
    load_model(control, path)
    alone = module_correct(control, context.data.test, context.task)
    metric, where = context.task.metric, "student trained alone, same epochs; torch, test split"
    return {f"control_{metric}": proportion(alone, where), f"{metric}_over_control": gain(alone, correct, CONTROL_NAME)}


def unearned(control: Metrics, metric: str) -> tuple[Fact, ...]:
    """Said where the teacher brought nothing that the test samples can tell."""
    brought = control.get(f"{metric}_over_control")
    if brought is None or (brought.low or 0.0) > 0:
        return ()
    difference, low, high = (100 * (bound or 0.0) for bound in (brought.value, brought.low, brought.high))
    return (
        Fact.of(
            "pipeline.no_gain_over_control",
            metric,
            difference=difference,
            low=low,
            high=high,
            samples=brought.runs,
            control=CONTROL_NAME,
        ),
    )
