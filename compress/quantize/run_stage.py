"""Run the quantization stage: calibrate, quantize, write a file for each runtime, compare, run the acceptance test."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import onnx_ir as ir
from onnx import ModelProto

from compress.backends import onnx_files
from compress.backends import onnx_graph as graphs
from compress.backends.feeds import first_feeds, make_batches
from compress.backends.runner_protocol import Feeds
from compress.core.atomic_files import write_with
from compress.core.entries import Tables
from compress.core.environment import is_main
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.record import Curve, Metrics
from compress.core.stage import Candidate, Context, Outcome
from compress.quantize import schemes
from compress.quantize.acceptance import (
    FLOAT,
    QUANTIZED,
    AcceptanceCriteria,
    check_acceptance,
    limits_only_quantized_meets,
)
from compress.quantize.analysis.accuracy_vs_float import compare_with_float
from compress.quantize.analysis.box_operators import box_operators
from compress.quantize.analysis.layer_report import ReportSection, report_layers
from compress.quantize.analysis.output_tail import leave_tail_float
from compress.quantize.calibration.tune_ranges import tune_ranges
from compress.quantize.calibration.usable_samples import samples_with_finite_outputs
from compress.quantize.load_float import load_quantizable
from compress.quantize.mixed_precision.search import search_mixed_precision
from compress.quantize.qat.train import RUNTIME, train_quantized
from compress.quantize.qdq import placement
from compress.quantize.qdq import quantize_graph as int8
from compress.quantize.static_int8 import Int8Format, StaticInt8Plan, plan_static_int8
from compress.quantize.target_requirements import (
    MODEL_FILES,
    local_device,
    needs_7bit_weights,
    per_tensor_weights,
    runtimes_to_build,
    score_batch,
    symmetric_activations,
    target_runtimes,
)

if TYPE_CHECKING:
    from compress.quantize.stage import Quantize

BATCH = 8
RECOMMENDED_IMAGES = 16
"""Smallest recommended number of images: fewer give inaccurate ranges."""
FLOAT_FILE = "model.float.onnx"


@dataclass
class _Report:
    """Results of the stage, collected while it runs; the fields are those of `StageRecord`."""

    results: Metrics = field(default_factory=dict)
    skipped: list[Fact] = field(default_factory=list)
    notes: list[Fact] = field(default_factory=list)
    warnings: list[Fact] = field(default_factory=list)
    curves: dict[str, Curve] = field(default_factory=dict)
    tables: Tables = field(default_factory=dict)

    def outcome(self, candidate: Candidate) -> Outcome:
        return Outcome(
            candidate,
            results=self.results,
            skipped=tuple(self.skipped),
            notes=tuple(self.notes),
            warnings=tuple(self.warnings),
            curves=self.curves,
            tables=self.tables,
        )


def run(stage: Quantize, candidate: Candidate, context: Context) -> Outcome:
    """See `Quantize.run`."""
    scheme = "int8" if stage.scheme == "auto" else stage.scheme
    runtimes = runtimes_to_build(context.targets)
    schemes.check_runtimes(scheme, target_runtimes(context.targets))
    if context.to_onnx is None:
        msg = gettext("a network is quantized from its ONNX file, but this context has no to_onnx")
        raise TypeError(msg)
    source = context.to_onnx(candidate)
    model = load_quantizable(source, candidate, context)
    excluded = placement.match_keep_float(model, stage.keep_float)
    report = _Report()
    models: Mapping[str, ModelProto] | None
    reference = model
    if scheme == "int8":
        plan = _plan_static(stage, model, runtimes, excluded, context, report)
        reference = plan.rescaled or model
        models = _build_static(stage, plan, runtimes, excluded, candidate, context, report)
        if models is None:
            return Outcome(candidate)  # in distributed training, only the first process writes files
    else:
        models = _build_other(stage, model, runtimes, excluded, candidate, report)
    files = {runtime: context.folder / MODEL_FILES[runtime] for runtime in runtimes}
    for runtime, path in files.items():
        onnx_files.save(models[runtime], path)
    results, report.tables["layer_sqnr"] = compare_with_float(
        source, files["onnxruntime"], context.data.validation, context.task, scheme, layers=reference,
        batch_size=score_batch(scheme, context.targets, 64),
    )  # fmt: skip
    report.results |= results
    layers = _report_layers(stage, model, source, files["onnxruntime"], report.skipped, context)
    report.results |= layers.results
    report.tables |= layers.tables
    report.notes += layers.notes
    report.skipped += layers.skipped
    _accept(stage, source, files, context, report)
    return report.outcome(Candidate(candidate.spec, files=files, lineage=candidate.lineage))


def _plan_static(
    stage: Quantize, model: ir.Model, runtimes: tuple[str, ...], excluded: tuple[str, ...], context: Context, report: _Report
) -> StaticInt8Plan:
    """Run post-training quantization and calibrate the ranges of activations."""
    images: Sequence[Feeds] = context.task.calibration(
        context.data.train, stage.calibration.samples, context.seed, classes=len(context.data.spec.classes)
    )
    report.notes.append(
        Fact.of("quantize.calibrated", method=stage.calibration.method, images=len(images), seed=context.seed)
    )  # fmt: skip
    if len(images) < RECOMMENDED_IMAGES:
        warning = Fact.of("quantize.few_calibration_images", images=len(images), recommended=RECOMMENDED_IMAGES)
        report.warnings.append(warning)
        report.notes.append(warning)
    usable = samples_with_finite_outputs(model, images, BATCH)
    if len(usable) < len(images):
        warning = Fact.of("quantize.calibration_images_left_out", count=len(images) - len(usable), images=len(images))
        report.warnings.append(warning)
        report.notes.append(warning)
        images = usable
    number_format = Int8Format(
        runtimes,
        per_channel=stage.per_channel and not per_tensor_weights(context.targets),
        symmetric=_symmetric(stage, context),
        seven_bit_weights=needs_7bit_weights(),
    )
    batches = make_batches(images, model, BATCH)
    plan = plan_static_int8(
        model, batches, number_format, stage.calibration, stage.ptq, exclude=excluded, reporter=context.reporter
    )
    report.notes += plan.notes
    report.skipped += plan.skipped
    if epochs := stage.calibration.learn_epochs:
        tuned = tune_ranges(
            plan, RUNTIME, images, epochs=epochs, exclude=excluded, seed=context.seed, reporter=context.reporter
        )
        plan = tuned.static
        report.notes += tuned.notes
        report.skipped += tuned.skipped
    return plan


def _build_static(
    stage: Quantize,
    plan: StaticInt8Plan,
    runtimes: tuple[str, ...],
    excluded: tuple[str, ...],
    candidate: Candidate,
    context: Context,
    report: _Report,
) -> dict[str, ModelProto] | None:
    """Choose the float layers, train, and build the network for each runtime; None in processes that write no files."""
    boxes = box_operators(plan.model)
    report.notes += [Fact.of("quantize.float_boxes", count=len(boxes))] if boxes else []
    runtime = RUNTIME if RUNTIME in runtimes else runtimes[0]
    tail, notes = leave_tail_float(plan, runtime, (*excluded, *boxes), candidate.spec, context)
    tail = (*boxes, *tail)
    report.notes += notes
    mixed_layers: tuple[str, ...] = ()
    if stage.mixed is not None:
        mixed = search_mixed_precision(stage.mixed, plan, (*excluded, *tail), candidate.spec, context)
        mixed_layers, report.tables["sensitivity"] = mixed.float_layers, mixed.rows
        report.notes.append(mixed.note)
        if not mixed.within_budget:
            report.warnings.append(mixed.note)
    exclude = (*excluded, *tail, *mixed_layers)
    if stage.recover is not None:
        trained = train_quantized(plan, exclude, stage.recover, candidate, context)
        if not is_main():
            return None
        plan, report.results, report.curves = trained.static, dict(trained.results), trained.curves
        report.notes += trained.notes
        report.skipped += trained.skipped
    models = {runtime: plan.build(runtime, exclude, candidate.spec) for runtime in runtimes}
    floats = {
        runtime: int8.float_layers(graphs.to_ir(model), runtime, excluded, mixed_layers) for runtime, model in models.items()
    }
    report.skipped += [fact for facts in floats.values() for fact in facts]
    report.notes += _describe_formats(stage, runtimes, symmetric=bool(_symmetric(stage, context)))
    if not _has_integer_weights(models["onnxruntime"]):
        report.warnings.append(Fact.of("quantize.nothing_in_int8"))
        report.notes.append(report.warnings[-1])
    if count := len(floats["onnxruntime"]):
        report.notes.append(Fact.of("quantize.float_operators", count=count))
    return models


def _has_integer_weights(model: ModelProto) -> bool:
    """Whether a constant of the main graph is stored as integers that become floats where they are read."""
    constants = {tensor.name for tensor in model.graph.initializer}
    return any(node.op_type == "DequantizeLinear" and node.input[0] in constants for node in model.graph.node)


def _build_other(
    stage: Quantize,
    model: ir.Model,
    runtimes: tuple[str, ...],
    excluded: tuple[str, ...],
    candidate: Candidate,
    report: _Report,
) -> Mapping[str, ModelProto]:
    """The network for each runtime in a scheme other than static int8."""
    quantized = schemes.build_models(stage.scheme, model, runtimes, per_channel=stage.per_channel, exclude=excluded)
    for network in quantized.models.values():
        onnx_files.write_metadata(network, candidate.spec)
        onnx_files.check(network)
    report.notes += quantized.notes
    report.skipped += quantized.skipped
    return quantized.models


def _symmetric(stage: Quantize, context: Context) -> bool | None:
    """Whether activations have zero point 0; None if each runtime's placement decides."""
    return symmetric_activations(context.targets) if stage.symmetric is None else stage.symmetric


def _report_layers(
    stage: Quantize, model: ir.Model, source: Path, quantized: Path, skipped: list[Fact], context: Context
) -> ReportSection:
    """Compare the layers of both files: number type and time of each in ONNX Runtime."""
    if stage.scheme == "bf16":
        return ReportSection(skipped=(Fact.of("quantize.bfloat16_not_measured"),))
    device = local_device(context.targets)
    inputs = first_feeds(model, context.data.validation, device.contract.batch if device else 1)
    seconds = 0.05 if context.smoke else 0.5
    return report_layers(source, quantized, skipped, inputs, threads=device.threads if device else 1, seconds=seconds)


def _accept(stage: Quantize, source: Path, files: dict[str, Path], context: Context, report: _Report) -> None:
    """Run the acceptance test if this machine is a target; if it fails, the float file may replace the quantized one."""
    device = local_device(context.targets)
    if stage.accept_if is None or device is None or context.smoke:
        return
    criteria = AcceptanceCriteria(
        stage.accept_if.loss_limit(context.task.metric_info),
        stage.accept_if.seconds,
        device.threads,
        device.contract.batch,
        score_batch(stage.scheme, context.targets, 32),
    )
    acceptance = check_acceptance(source, files, (device.runtime, *device.runtimes), criteria, context)
    report.results |= acceptance.results
    report.skipped += acceptance.skipped
    report.tables["acceptance"] = acceptance.table(QUANTIZED)
    report.notes.append(acceptance.note)
    if acceptance.passed:
        return
    decision = Fact.of("quantize.quantized_network_ships")
    if stage.accept_if.keep == "better" and (limits := limits_only_quantized_meets(acceptance, context, device.name)):
        decision = Fact.of("quantize.quantized_network_meets_budget", limits=limits)
    elif stage.accept_if.keep == "better":
        decision = Fact.of("quantize.float_network_ships")
        report.tables["acceptance"] = acceptance.table(FLOAT)
        files["onnxruntime"] = context.folder / FLOAT_FILE
        write_with(files["onnxruntime"], lambda temporary: shutil.copyfile(source, temporary))
        files.pop("openvino", None)
    report.notes.append(decision)
    report.warnings += [acceptance.note, decision]


def _describe_formats(stage: Quantize, runtimes: tuple[str, ...], *, symmetric: bool) -> list[Fact]:
    """Number format of each runtime's file."""
    return [
        Fact.of(
            "quantize.numeric_format",
            runtime,
            bits=stage.ptq.weights.bits,
            seven_bit_weights=needs_7bit_weights(),
            symmetric=symmetric,
            symmetric_chosen_by_runtime=stage.symmetric is None,
        )
        for runtime in runtimes
    ]
