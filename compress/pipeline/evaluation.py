"""Evaluation of the output of a stage: output check, metric, size, parameters, MACs and latency, with provenance.

The metric of an ONNX candidate is measured in its runtime, that of a torch candidate with the module, whose float ONNX
file is compared with the module at export.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from compress.backends.export_onnx import export_onnx
from compress.backends.exporter_parity import parity_inputs
from compress.backends.feeds import name_feeds
from compress.backends.file_signature import read_signature
from compress.backends.iterate_split import input_arrays
from compress.core.atomic_files import sha256
from compress.core.class_comparison import ClassComparison
from compress.core.comparable_tokens import reads_own_tokens
from compress.core.entries import Tables
from compress.core.errors import ModelError
from compress.core.fact import Fact
from compress.core.format_quantity import difference_unit
from compress.core.language import gettext
from compress.core.record import Metric, Metrics, Quantity
from compress.core.stage import Candidate, Context, Outcome, missing_metrics
from compress.models import count_macs
from compress.models.check_network import check_each_alone
from compress.pipeline.compare_classes import compare_with
from compress.pipeline.compare_groups import GROUPS, compare_groups
from compress.pipeline.generated_texts import measure_generated, parent_of
from compress.pipeline.split_metrics import ONNX_RUNTIME, measure_control, measure_splits
from compress.pipeline.stage_output import FLOAT_ONNX, StageOutput, save_scores
from compress.pipeline.useless_network import untrained_answers, useless_warning, warnings_of_same_bytes
from compress.profile.cost_model.executed_work import macs_quantity
from compress.profile.latency.interleave import TimingPlan
from compress.profile.latency.timing import Timing, measure, speedup
from compress.tasks.flat_outputs import flat_outputs
from compress.tasks.metric_quantity import loss_of
from compress.tasks.output_names import name_outputs

if TYPE_CHECKING:
    from torch import nn

    from compress.data.batch import Split
    from compress.data.interface import Data
    from compress.pipeline.stage_output import PendingStage
    from compress.tasks.base import Task

LATENCY_PLAN = TimingPlan(seconds=0.6, warmup_seconds=0.2)
SMOKE_PLAN = TimingPlan.of(0.1)
COUNTS = ("parameters", "macs")


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Metrics of a candidate.

    Attributes:
        metrics: Metrics after the stage.
        results: Further quantities, including those on the test split, which a stage must not use.
        notes: Notes for the record.
        warnings: The notes that are shown at the head of the report.
        tables: Rows by table name.
        scores: Per-sample scores on the test split, float32 (N,), which paired intervals need; None where not measured.
        answers: Classes of the samples of the test split, see `SplitScores.answers`.
        class_comparison: Those of the reference and of the candidate.
    """

    metrics: Metrics
    results: Metrics = field(default_factory=dict)
    notes: tuple[Fact, ...] = ()
    warnings: tuple[Fact, ...] = ()
    tables: Tables = field(default_factory=dict)
    scores: np.ndarray | None = None
    answers: np.ndarray | None = None
    class_comparison: ClassComparison | None = None


def check_outputs(candidate: Candidate, stage: str, split: Split) -> None:
    """Refuse a network whose outputs for samples of a split have the wrong shape, are not finite, or depend on their batch.

    A sample with equal values, such as a black image, may have no finite output, since standardisation of an image divides by
    0.

    Raises:
        ModelError: The outputs are not valid; the message names the stage.
    """
    if candidate.module is None:
        return
    inputs = _varied(parity_inputs(split))
    count = len(inputs[0])
    with torch.no_grad():
        outputs = name_outputs(candidate.module(*inputs), candidate.spec.output_names)
    for output, values in zip(candidate.spec.signature.outputs, outputs.values(), strict=True):
        if not output.fits(tuple(values.shape), batch=count):
            msg = gettext(
                "after {stage} the network gives {name} of shape {shape} where {output} is needed",
                stage=stage,
                name=output.name,
                shape=tuple(values.shape),
                output=output,
            )
            raise ModelError(msg)
    if undefined := int((~torch.isfinite(flat_outputs(outputs)).all(1)).sum()):
        reason = gettext("lower its learning rate, or check the weights")
        if not all(torch.isfinite(values).all() for values in inputs if values.is_floating_point()):
            reason = gettext("the samples have such values: check how the data are read and normalised")
        msg = gettext(
            "after {stage} the network's outputs are not finite numbers for {undefined} of {count} samples; {reason}",
            stage=stage,
            undefined=undefined,
            count=count,
            reason=reason,
        )
        raise ModelError(msg)
    with torch.random.fork_rng(devices=[]):
        check_each_alone(candidate.module, inputs, gettext("after {stage} the network", stage=stage))


def _varied(inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The samples whose first input has different values; all samples if there are none."""
    values = inputs[0].flatten(1)
    varied = values.amax(1) != values.amin(1)
    return tuple(each[varied] for each in inputs) if bool(varied.any()) else inputs


def evaluate_outcome(
    pending: PendingStage, outcome: Outcome, context: Context, *, reference: StageOutput | None, unchanged: bool
) -> Evaluation:
    """Evaluate the output of a stage.

    Args:
        pending: The stage.
        outcome: Its output.
        context: Its context; the float ONNX file and the per-sample scores are written to its folder.
        reference: Reference of the metric; None for the first network of the run.
        unchanged: Whether the output is the input candidate.
    """
    candidate, previous, task = outcome.candidate, pending.previous, context.task
    if not pending.trained:
        untrained = missing_metrics(gettext("the weights are random"), task.metric_info)
        return Evaluation(untrained | _counts(candidate.network(), context.data))
    if unchanged or _same_bytes(candidate, previous):
        if previous is None or (scores := previous.scores()) is None:
            return Evaluation(pending.before)
        save_scores(scores, context.folder, previous.answers())
        before, against = _reference_scores(reference)
        metrics = pending.before | _drop(before, scores, task, against)
        return Evaluation(metrics, warnings=() if unchanged else warnings_of_same_bytes(previous))
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
    save_scores(scores, context.folder, evaluation.answers)
    before, against = _reference_scores(reference)
    metrics = evaluation.metrics | _drop(before, scores, task, against)
    control = measure_control(candidate, context, scores)
    own = evaluation.warnings
    if not outcome.trains_answers:
        own = untrained_answers(own, evaluation.metrics[task.metric], task)
    warnings = (*own, *no_gain_warning(control, task.metric_info))
    compared = compare_with(reference, evaluation.answers, context.data, task)
    results = evaluation.results | control
    generated, further = measure_generated(candidate, context, parent_of(candidate, previous, reference), previous)
    results |= generated
    rows, told = compare_groups(task.deciding, context.data.groups, before, scores, against)
    warnings += told
    tables = evaluation.tables | further | ({GROUPS: rows} if rows else {})
    return Evaluation(
        metrics, results, warnings, warnings, tables, scores, answers=evaluation.answers, class_comparison=compared
    )


def _reference_scores(reference: StageOutput | None) -> tuple[np.ndarray | None, str]:
    """Scores of the reference, and its name in sentences; None and why there are none, which is empty without a reference."""
    if reference is None:
        return None, ""
    if reads_own_tokens(reference.record):
        return None, gettext("the teacher reads the texts in other tokens, so that the metric is not comparable")
    name = reference.record.name
    return reference.scores(), gettext("the teacher") if name == "teacher" else gettext("the network after {stage}", stage=name)


def _drop(before: np.ndarray | None, scores: np.ndarray, task: Task, against: str) -> Metrics:
    """Loss of the metric against the scores of the reference, with its paired interval, or why it has none; else empty."""
    name, metric = task.metric_info.loss_name, task.metric_info
    if before is None:
        return {name: Quantity.missing(metric.unit, against)} if against else {}
    return {name: loss_of(task.deciding, before, scores, against)}


def evaluate_candidate(
    candidate: Candidate, file: Path, context: Context, *, before: Metrics, baseline: Path | None, session: str
) -> Evaluation:
    """Measure a candidate.

    Args:
        candidate: The candidate.
        file: Its ONNX file, which for a torch candidate is the float export.
        context: The splits and the task; the metric is measured on test and on validation.
        before: Metrics before the stage; an ONNX candidate has the counts of its parent, since quantization removes no
            operations. The file at the start of a chain has none, and its operators are counted.
        baseline: ONNX file of the previous stage, timed in turns with this one so that drift affects both equally; the result
            is `speedup_vs_before`.
        session: Key of the timing session, for the record of the latency.
    """
    data, task = context.data, context.task
    runtime = candidate.artifact[0] if candidate.module is None else ONNX_RUNTIME
    measured = measure_splits(candidate, context)
    warnings = tuple(
        Fact.of("pipeline.outputs_not_finite", name, count=result.not_finite, samples=len(result.scores))
        for name, result in (("test", measured.test), ("validation", measured.validation))
        if result.not_finite
    )
    warnings += useless_warning(measured, candidate.spec.classes, task) or measured.warnings
    metrics = dict(measured.metrics)
    if candidate.module is not None:
        metrics |= _counts(candidate.module, data)
    else:
        metrics |= {name: before[name] for name in COUNTS if name in before} or _counts_of_file(file, data)
    metrics["size_bytes"] = Quantity.measured(file.stat().st_size, "bytes", gettext("ONNX file on disk"))
    files = {"this": file} | ({"baseline": baseline} if baseline else {})
    timings = _timings(files, data, {"this": runtime}, SMOKE_PLAN if context.smoke else LATENCY_PLAN)
    metrics["latency_ms"] = timings["this"].p50.model_copy(update={"session": session})
    results = dict(measured.results)
    if baseline:
        results["speedup_vs_before"] = speedup(timings["baseline"], timings["this"])
    test = measured.test
    return Evaluation(metrics, results, warnings=warnings, tables=measured.tables, scores=test.scores, answers=test.answers)


def no_gain_warning(control: Metrics, metric: Metric) -> tuple[Fact, ...]:
    """A warning if distillation gave no significant gain over the control, by the paired interval.

    Args:
        control: Results of the control, see `measure_control`.
        metric: The deciding metric.
    """
    difference = control.get(f"{metric.name}_over_control")
    if difference is None or (difference.low or 0.0) > 0:
        return ()
    scale = 100 if metric.unit == "fraction" else 1
    value = scale * (difference.value or 0.0)
    low, high = (None if end is None else scale * end for end in (difference.low, difference.high))
    values = {"difference": value, "low": low, "high": high, "samples": difference.runs, "unit": difference_unit(metric.unit)}
    return (Fact.of("pipeline.no_gain_over_control", gettext(metric.label), **values),)


def _same_bytes(candidate: Candidate, previous: StageOutput | None) -> bool:
    if candidate.module is not None or previous is None or previous.record.form != "onnx":
        return False
    before = previous.onnx()
    runtime, file = candidate.artifact
    return before is not None and runtime == ONNX_RUNTIME and sha256(before) == sha256(file)


def _counts(module: nn.Module, data: Data) -> Metrics:
    """Parameters and multiply-accumulates of one sample."""
    total = count_macs.count_network(module, data.spec)
    return {
        "parameters": Quantity.measured(total.parameters, "1", gettext("counted on the module")),
        "macs": Quantity.measured(total.macs, "MAC", gettext("counted on the module, one sample")),
    }


def _counts_of_file(file: Path, data: Data) -> Metrics:
    """Multiply-accumulates of a file for one test sample; a file in another format than ONNX is not counted."""
    if file.suffix != ".onnx":
        return {}
    names = [each.name for each in read_signature(file).inputs]
    feeds = name_feeds(input_arrays(next(iter(data.test.ordered(1)))), names, file.name)
    return {"macs": macs_quantity(file, feeds)}


def _timings(files: dict[str, Path], data: Data, runtimes: Mapping[str, str], plan: TimingPlan) -> dict[str, Timing]:
    """Time files in turns on one test sample, in ONNX Runtime unless `runtimes` names another runtime."""
    batch = next(iter(data.test.ordered(1)))
    return measure(files, input_arrays(batch), plan, runtimes=runtimes)
