"""Evaluation of what a stage produced: output check, metric, size, parameters, MACs and latency, each with its provenance.

The metric is measured on what ships: an ONNX candidate runs in its runtime, a torch candidate as the module whose float ONNX
file is compared with it at export.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from compress.backends.export_onnx import export_onnx
from compress.backends.exporter_parity import parity_inputs
from compress.backends.iterate_split import input_arrays
from compress.backends.run_split import SplitScores, run_split
from compress.core.atomic_files import sha256
from compress.core.errors import ModelError
from compress.core.fact import Fact
from compress.core.record import Metrics, Quantity
from compress.core.stage import Candidate, Context, Outcome, missing_metrics
from compress.models import count_macs
from compress.models.check_network import check_each_alone
from compress.pipeline.stage_output import FLOAT_ONNX, StageOutput, save_scores
from compress.profile.latency.interleave import TimingPlan
from compress.profile.latency.timing import Timing, measure, speedup
from compress.tasks.base import name_outputs
from compress.tasks.flat_outputs import flat_outputs
from compress.tasks.metric_quantity import estimate, gain_of, loss_of
from compress.train.checkpoints import load_weights

if TYPE_CHECKING:
    from torch import nn

    from compress.data.batch import Split
    from compress.data.interface import Data
    from compress.pipeline.stage_output import PendingStage
    from compress.tasks.base import Task

CONTROL = "control.safetensors"
LATENCY_PLAN = TimingPlan(seconds=0.6, warmup_seconds=0.2)
ONNX_RUNTIME = "onnxruntime"
COUNTS = ("parameters", "macs")


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Metrics of a candidate.

    Attributes:
        metrics: After the stage.
        results: Further quantities, among them those on the test split, which a stage itself must not use.
        notes: For the record.
        warnings: Those of them that stand at the head of the report.
        scores: Per-sample scores on the test split, float32 (N,), which paired intervals need; None where not measured.
    """

    metrics: Metrics
    results: Metrics = field(default_factory=dict)
    notes: tuple[Fact, ...] = ()
    warnings: tuple[Fact, ...] = ()
    scores: np.ndarray | None = None


def check_outputs(candidate: Candidate, stage: str, split: Split) -> None:
    """Refuse a network whose outputs for samples of a split have the wrong shape, are not finite, or depend on their batch.

    A sample of one value, such as a black image, may have no finite output: standardisation of each image divides by 0.

    Raises:
        ModelError: Names the stage that produced it.
    """
    if candidate.module is None:
        return
    inputs = _varied(parity_inputs(split))
    count = len(inputs[0])
    with torch.no_grad():
        outputs = name_outputs(candidate.module(*inputs), candidate.spec.output_names)
    for output, values in zip(candidate.spec.signature.outputs, outputs.values(), strict=True):
        if not output.fits(tuple(values.shape), batch=count):
            msg = f"after {stage} the network gives {output.name} of shape {tuple(values.shape)} where {output} is needed"
            raise ModelError(msg)
    if undefined := int((~torch.isfinite(flat_outputs(outputs)).all(1)).sum()):
        reason = "lower its learning rate, or check the weights"
        if not all(torch.isfinite(values).all() for values in inputs if values.is_floating_point()):
            reason = "the samples themselves hold such values: check how the data are read and normalised"
        msg = f"after {stage} the network's outputs are not finite numbers for {undefined} of {count} samples; {reason}"
        raise ModelError(msg)
    with torch.random.fork_rng(devices=[]):
        check_each_alone(candidate.module, inputs, f"after {stage} the network")


def _varied(inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The samples whose first input holds more than one value; all where none does."""
    values = inputs[0].flatten(1)
    varied = values.amax(1) != values.amin(1)
    return tuple(each[varied] for each in inputs) if bool(varied.any()) else inputs


def evaluate_outcome(
    pending: PendingStage, outcome: Outcome, context: Context, *, reference: StageOutput | None, unchanged: bool
) -> Evaluation:
    """Evaluate what a stage produced.

    Args:
        pending: The stage.
        outcome: What it produced.
        context: Its context; the float ONNX file and the per-sample scores are written into its folder.
        reference: What the metric is compared with; None when this is the first network of the run.
        unchanged: Whether the stage returned its input candidate.
    """
    candidate, previous, task = outcome.candidate, pending.previous, context.task
    if not pending.trained:
        return Evaluation(missing_metrics("fresh weights", task.metric) | _counts(candidate.network(), context.data))
    if unchanged or _same_bytes(candidate, previous):
        if previous is None or (scores := previous.scores()) is None:
            return Evaluation(pending.before)
        save_scores(scores, context.folder)
        return Evaluation(pending.before | _drop(reference, scores, task))
    file = candidate.artifact[1] if candidate.module is None else context.folder / FLOAT_ONNX
    if candidate.module is not None:
        split, options, cache = context.data.validation, context.onnx, context.cache
        notes = export_onnx(candidate.module, candidate.spec, file, split=split, options=options, cache=cache)
        pending.export_notes.extend(notes)
    evaluation = evaluate_candidate(
        candidate, file, context, before=pending.before, baseline=previous.onnx() if previous else None, session=pending.key
    )
    scores = evaluation.scores
    assert scores is not None  # noqa: S101  # `evaluate_candidate` always measures
    save_scores(scores, context.folder)
    metrics = evaluation.metrics | _drop(reference, scores, task)
    control = _control(candidate, context, scores)
    warnings = (*evaluation.warnings, *no_gain_warning(control, task.metric))
    return Evaluation(metrics, evaluation.results | control, warnings, warnings, scores)


def _drop(reference: StageOutput | None, scores: np.ndarray, task: Task) -> Metrics:
    """Loss of the metric against the reference, with its paired interval; empty where there is nothing to compare with."""
    reference_scores = reference.scores() if reference else None
    if reference is None or reference_scores is None:
        return {}
    name = reference.record.name
    against = "the teacher" if name == "teacher" else f"the network after {name}"
    return {task.metric_info.loss_name: loss_of(task.deciding, reference_scores, scores, against)}


def evaluate_candidate(
    candidate: Candidate, file: Path, context: Context, *, before: Metrics, baseline: Path | None, session: str
) -> Evaluation:
    """Measure one candidate.

    Args:
        candidate: What to measure.
        file: Its ONNX file: the candidate itself, or the float export of a torch candidate.
        context: The splits and the task; the metric is measured on test and, apart, on validation.
        before: Metrics before the stage; an ONNX candidate keeps its parent's counts, since quantization removes no work.
        baseline: ONNX file of the previous stage, timed in turns with this one so that drift affects both alike; the result is
            `speedup_vs_before`.
        session: Identifies the timing session in the latency's record.
    """
    data, metric = context.data, context.task.metric
    runtime = candidate.artifact[0] if candidate.module is None else ONNX_RUNTIME
    splits = {"test": data.test, "validation": data.validation}
    (test, result), (validation, other) = (
        _measure_metric(candidate, split, context.task, name) for name, split in splits.items()
    )
    scores = result.scores
    warnings = tuple(
        Fact.of("pipeline.outputs_not_finite", name, count=count, samples=len(splits[name]))
        for name, count in (("test", result.not_finite), ("validation", other.not_finite))
        if count
    )
    if result.only_class is not None and candidate.spec.classes:
        name = candidate.spec.classes[result.only_class]
        warnings += (Fact.of("pipeline.one_class_for_all", name, samples=len(data.test)),)
    metrics: Metrics = {metric: test, f"{metric}_validation": validation}
    if candidate.module is not None:
        metrics |= _counts(candidate.module, data)
    else:
        metrics |= {name: before[name] for name in COUNTS if name in before}
    metrics["size_bytes"] = Quantity.measured(file.stat().st_size, "bytes", "ONNX file on disk")
    timings = _timings({"this": file} | ({"baseline": baseline} if baseline else {}), data, {"this": runtime})
    metrics["latency_ms"] = timings["this"].p50.model_copy(update={"session": session})
    if not baseline:
        return Evaluation(metrics, warnings=warnings, scores=scores)
    return Evaluation(
        metrics, {"speedup_vs_before": speedup(timings["baseline"], timings["this"])}, warnings=warnings, scores=scores
    )


def no_gain_warning(control: Metrics, metric: str) -> tuple[Fact, ...]:
    """A warning where distillation gave no significant gain over the control, by the paired interval."""
    difference = control.get(f"{metric}_over_control")
    if difference is None or (difference.low or 0.0) > 0:
        return ()
    value, low, high = (100 * (bound or 0.0) for bound in (difference.value, difference.low, difference.high))
    return (
        Fact.of(
            "pipeline.no_gain_over_control", metric, difference=value, low=low, high=high, samples=difference.runs
        ),
    )  # fmt: skip


def _same_bytes(candidate: Candidate, previous: StageOutput | None) -> bool:
    if candidate.module is not None or previous is None or previous.record.form != "onnx":
        return False
    before = previous.onnx()
    runtime, file = candidate.artifact
    return before is not None and runtime == ONNX_RUNTIME and sha256(before) == sha256(file)


def _control(candidate: Candidate, context: Context, scores: np.ndarray) -> Metrics:
    """Metric on test of the control, the same network trained without the teacher, and the student's gain over it."""
    path = context.folder / CONTROL
    if not path.exists() or candidate.module is None:
        return {}
    control = copy.deepcopy(candidate.module)
    load_weights(control, path)
    control_scores = run_split(control, context.data.test, context.task).scores
    metric, deciding = context.task.metric, context.task.deciding
    return {
        f"control_{metric}": estimate(deciding, control_scores, "student trained alone, same epochs; torch, test split"),
        f"{metric}_over_control": gain_of(deciding, control_scores, scores, "the student trained alone for as long"),
    }


def _measure_metric(candidate: Candidate, split: Split, task: Task, name: str) -> tuple[Quantity, SplitScores]:
    """Metric of one split with its interval, and the statistics that it is computed from."""
    if candidate.module is not None:
        result, where = run_split(candidate.module, split, task), f"torch, {name} split"
    else:
        runtime, file = candidate.artifact
        result = run_split(file, split, task, runtime=runtime)
        where = f"{'ONNX Runtime' if runtime == ONNX_RUNTIME else f'{file.name} in {runtime}'}, {name} split"
    return estimate(task.deciding, result.scores, where), result


def _counts(module: nn.Module, data: Data) -> Metrics:
    """Parameters and multiply-accumulates of one sample."""
    total = count_macs.count_network(module, data.spec)
    return {
        "parameters": Quantity.measured(total.parameters, "1", "counted on the module"),
        "macs": Quantity.measured(total.macs, "MAC", "counted on the module, one sample"),
    }


def _timings(files: dict[str, Path], data: Data, runtimes: Mapping[str, str]) -> dict[str, Timing]:
    """Time files in turns on one real test sample, in ONNX Runtime unless `runtimes` names another."""
    batch = next(iter(data.test.ordered(1)))
    return measure(files, input_arrays(batch), LATENCY_PLAN, runtimes=runtimes)
