"""Static int8 networks of a stage: calibrate, choose the layers that stay in float, train, build a network for each runtime."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import onnx_ir as ir
from onnx import ModelProto

from compress.backends import onnx_graph as graphs
from compress.backends.feeds import make_batches
from compress.backends.runner_protocol import Feeds
from compress.core.environment import is_main
from compress.core.fact import Fact
from compress.core.stage import Candidate, Context
from compress.quantize.analysis.box_operators import box_operators
from compress.quantize.analysis.output_tail import leave_tail_float
from compress.quantize.calibration.tune_ranges import tune_ranges
from compress.quantize.calibration.unpadded import without_padding
from compress.quantize.calibration.usable_samples import samples_with_finite_outputs
from compress.quantize.mixed_precision.search import search_mixed_precision
from compress.quantize.qat.train import RUNTIME, train_quantized
from compress.quantize.qdq import quantize_graph as int8
from compress.quantize.stage_report import StageReport
from compress.quantize.static_int8 import Int8Format, StaticInt8Plan, plan_static_int8
from compress.quantize.target_requirements import per_tensor_weights, seven_bit_weights, symmetric_activations

if TYPE_CHECKING:
    from compress.quantize.stage import Quantize

BATCH = 8
RECOMMENDED_IMAGES = 16
"""Smallest recommended number of images: fewer give inaccurate ranges."""


def plan_static(
    stage: Quantize,
    model: ir.Model,
    runtimes: tuple[str, ...],
    excluded: tuple[str, ...],
    context: Context,
    report: StageReport,
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
    images = without_padding(images)
    number_format = Int8Format(
        runtimes,
        per_channel=stage.per_channel and not per_tensor_weights(context.targets),
        symmetric=_symmetric(stage, context),
        seven_bit_weights=seven_bit_weights(context.targets),
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


def build_static(
    stage: Quantize,
    plan: StaticInt8Plan,
    runtimes: tuple[str, ...],
    excluded: tuple[str, ...],
    candidate: Candidate,
    context: Context,
    report: StageReport,
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
    report.notes += _describe_formats(stage, runtimes, context)
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


def _symmetric(stage: Quantize, context: Context) -> bool | None:
    """Whether activations have zero point 0; None if each runtime's placement decides."""
    return symmetric_activations(context.targets) if stage.symmetric is None else stage.symmetric


def _describe_formats(stage: Quantize, runtimes: tuple[str, ...], context: Context) -> list[Fact]:
    """Number format of each runtime's file."""
    return [
        Fact.of(
            "quantize.numeric_format",
            runtime,
            bits=stage.ptq.weights.bits,
            seven_bit_weights=seven_bit_weights(context.targets),
            symmetric=bool(_symmetric(stage, context)),
            symmetric_chosen_by_runtime=stage.symmetric is None,
        )
        for runtime in runtimes
    ]
