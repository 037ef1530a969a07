"""Run the quantization stage: calibrate, quantize, write a file for each runtime, compare, run the acceptance test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import onnx_ir as ir
from onnx import ModelProto

from compress.backends import onnx_files
from compress.backends.feeds import first_feeds, make_batches
from compress.backends.run_split import run_split
from compress.backends.runner_protocol import Feeds
from compress.core.entries import Tables
from compress.core.environment import is_main
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.metric_limits import allowed_loss
from compress.core.stage import Candidate, Context, Outcome
from compress.quantize import schemes
from compress.quantize.analysis.accuracy_vs_float import compare_with_float
from compress.quantize.analysis.layer_report import ReportSection, report_layers
from compress.quantize.apply_acceptance import accept
from compress.quantize.build_static import BATCH, build_static, plan_static
from compress.quantize.calibration.unpadded import without_padding
from compress.quantize.changed_tokens import count_changes, float_texts
from compress.quantize.choose_scheme import choose_scheme, tries_schemes
from compress.quantize.fuse_files import fuse_files
from compress.quantize.load_float import load_quantizable
from compress.quantize.mixed_precision.search import search_mixed_precision
from compress.quantize.mixed_precision.trial import TrialPlan
from compress.quantize.ptq.smoothquant import smooth_linear_inputs
from compress.quantize.qat.train_blocks import train_blocks
from compress.quantize.qdq import placement
from compress.quantize.serving import serving_mix
from compress.quantize.settings import ACCEPTED_LOSS, MixedPrecisionSettings
from compress.quantize.stage_report import StageReport
from compress.quantize.target_requirements import (
    BLOCK_BITS,
    MODEL_FILES,
    Scheme,
    local_device,
    runtimes_to_build,
    score_batch,
    seven_bit_weights,
    target_runtimes,
)
from compress.quantize.weight_only.choose_blocks import BlockLimits, BlockTrial, choose_blocks
from compress.quantize.weight_only.head_and_tables import HeadAndTables
from compress.quantize.weight_only.matmul_nbits import BYTES_LEVEL
from compress.quantize.weight_only.mixed_bits import MORE_BITS, MixedBitsPlan
from compress.quantize.weight_only.round_blocks import needs_data

if TYPE_CHECKING:
    from compress.quantize.stage import Quantize

SMOOTHED_ON = 128
"""Training samples whose activations SmoothQuant uses for `dynamic_int8`."""


def run(stage: Quantize, candidate: Candidate, context: Context) -> Outcome:
    """See `Quantize.run`."""
    if not tries_schemes(stage, candidate, context):
        return quantize_by_scheme(stage, candidate, context)
    blocks: dict[str, Tables] = {}

    def attempt(stage: Quantize, candidate: Candidate, context: Context) -> Outcome:
        outcome = quantize_by_scheme(stage, candidate, context)
        blocks[stage.scheme] = {name: rows for name, rows in outcome.tables.items() if name == "blocks"}
        return outcome

    chosen, rows, facts = choose_scheme(stage, candidate, context, attempt)
    outcome = quantize_by_scheme(chosen, candidate, context)
    failed = tuple(fact for fact in facts if fact.code == "quantize.scheme_failed")
    return replace(
        outcome,
        notes=(*(fact for fact in facts if fact not in failed), *outcome.notes),
        skipped=(*outcome.skipped, *failed),
        tables={**blocks.get(chosen.scheme, {}), **outcome.tables, "schemes": rows},
    )


def quantize_by_scheme(stage: Quantize, candidate: Candidate, context: Context) -> Outcome:
    """Quantize a network by the scheme of the stage; `auto` is static int8."""
    scheme = "int8" if stage.scheme == "auto" else stage.scheme
    runtimes = runtimes_to_build(context.targets)
    schemes.check_runtimes(scheme, target_runtimes(context.targets))
    if context.to_onnx is None:
        msg = gettext("a network is quantized from its ONNX file, but this context has no to_onnx")
        raise TypeError(msg)
    source = context.to_onnx(candidate)
    model = load_quantizable(source, candidate, context)
    excluded = placement.match_keep_float(model, stage.keep_float)
    report = StageReport()
    models: Mapping[str, ModelProto] | None
    reference = model
    if scheme == "int8":
        plan = plan_static(stage, model, runtimes, excluded, context, report)
        reference = plan.rescaled or model
        models = build_static(stage, plan, runtimes, excluded, candidate, context, report)
        if models is None:
            return Outcome(candidate)  # in distributed training, only the first process writes files
    else:
        built = _build_other(stage, model, source, excluded, candidate, context, report)
        if built is None:
            return Outcome(candidate)
        models, reference = built
    files = {runtime: context.folder / MODEL_FILES[runtime] for runtime in runtimes}
    for runtime, path in files.items():
        onnx_files.save(models[runtime], path)
    parent = fuse_files(source, files, candidate.spec.signature, context, report)
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
    mix = None if context.smoke else serving_mix(stage, source, context)
    if mix is not None:
        _count_changes(source, files["onnxruntime"], context, report)
    accept(stage, parent, files, candidate.spec.signature, context, report)
    return report.outcome(Candidate(candidate.spec, files=files, lineage=candidate.lineage))


def _count_changes(source: Path, quantized: Path, context: Context, report: StageReport) -> None:
    """Count the tokens that change; they are a point for review."""
    changes = count_changes(quantized, float_texts(source, context))
    if not len(changes.counts):
        return
    report.results |= changes.quantities()
    fact = changes.fact()
    report.notes.append(fact)
    if changes.firsts:
        report.warnings.append(fact)


def _build_other(
    stage: Quantize,
    model: ir.Model,
    source: Path,
    excluded: tuple[str, ...],
    candidate: Candidate,
    context: Context,
    report: StageReport,
) -> tuple[Mapping[str, ModelProto], ir.Model] | None:
    """The network for each runtime in a scheme other than static int8, and the float network to compare its layers with.

    None in processes that write no files.
    """
    if stage.ptq.smooth is not None:
        model = _smooth(stage.ptq.smooth, model, excluded, context, report)
    blocks = stage.weight_only
    options = schemes.SchemeOptions(
        per_channel=stage.per_channel,
        seven_bits=seven_bit_weights(context.targets),
        block=blocks.block or schemes.DEFAULT_OPTIONS.block,
        symmetric=blocks.symmetric,
        accuracy_level=_default_level(stage) if blocks.accuracy_level is None else blocks.accuracy_level,
        rounding=blocks.rounding,
        batches=_batches(stage, model, context, report) if needs_data(blocks.rounding) else (),
        parts=HeadAndTables(blocks.head, blocks.embedding),
        eight_bits=placement.match_nodes(model, blocks.eight_bits, "weight_only.eight_bits"),
        exclude=excluded,
    )
    device = local_device(context.targets)
    is_open = blocks.block is None and blocks.accuracy_level is None
    if stage.scheme in BLOCK_BITS and is_open and device is not None and not context.smoke:
        measured = BlockTrial(
            stage.scheme, model, source, candidate.spec.signature, device, serving_mix(stage, source, context)
        )
        limits = BlockLimits(
            _max_loss(stage, source, context), None if stage.accept_if is None else stage.accept_if.changed_tokens
        )
        choice = choose_blocks(measured, options, limits, context)
        options, report.tables["blocks"] = choice.options, choice.rows
    if stage.scheme in BLOCK_BITS:
        bits = BLOCK_BITS[stage.scheme]
        report.notes.append(Fact.of("quantize.blocks", bits=bits, block=options.block, accuracy_level=options.accuracy_level))
    if stage.mixed is not None:
        options = _with_precise_layers(stage.mixed, stage.scheme, model, options, candidate, context, report)
    if stage.recover is not None:
        trained = train_blocks(stage.scheme, model, options, stage.recover, candidate, context)
        if not is_main():
            return None
        options, report.curves = trained.options, trained.curves
        report.results |= trained.results
        report.notes += trained.notes
        report.skipped += trained.skipped
    quantized = schemes.build_models(stage.scheme, model, runtimes_to_build(context.targets), options)
    for network in quantized.models.values():
        onnx_files.write_metadata(network, candidate.spec)
        onnx_files.check(network)
    report.notes += quantized.notes
    report.skipped += quantized.skipped
    return quantized.models, quantized.rescaled or model


def _smooth(alpha: float, model: ir.Model, excluded: tuple[str, ...], context: Context, report: StageReport) -> ir.Model:
    """The network with the inputs of its linear layers smoothed."""
    samples = context.task.calibration(
        context.data.train, SMOOTHED_ON, context.seed, classes=len(context.data.spec.classes)
    )  # fmt: skip
    batches = make_batches(without_padding(samples), model, BATCH)
    smoothed = smooth_linear_inputs(model, batches, alpha, exclude=excluded, reporter=context.reporter)
    report.notes += smoothed.notes
    report.skipped += smoothed.skipped
    return smoothed.model


def _default_level(stage: Quantize) -> int:
    return BYTES_LEVEL if BLOCK_BITS.get(stage.scheme) == 8 else schemes.DEFAULT_OPTIONS.accuracy_level


def _batches(stage: Quantize, model: ir.Model, context: Context, report: StageReport) -> Sequence[Feeds]:
    """Training samples for a rounding that needs the inputs of layers."""
    classes = len(context.data.spec.classes)
    samples = context.task.calibration(context.data.train, stage.weight_only.samples, context.seed, classes=classes)
    report.notes.append(
        Fact.of("quantize.rounded_on", stage.weight_only.rounding, samples=len(samples), seed=context.seed)
    )  # fmt: skip
    return make_batches(without_padding(samples), model, BATCH)


def _with_precise_layers(
    mixed: MixedPrecisionSettings,
    scheme: Scheme,
    model: ir.Model,
    options: schemes.SchemeOptions,
    candidate: Candidate,
    context: Context,
    report: StageReport,
) -> schemes.SchemeOptions:
    """Options with the layers that mixed precision keeps in float, or for `weight_int4` in 8 bits."""
    in_blocks = scheme in BLOCK_BITS
    plan: TrialPlan = MixedBitsPlan(model, options) if in_blocks else schemes.DynamicInt8Plan(model, options)
    excluded = (*options.exclude, *(plan.fixed if isinstance(plan, MixedBitsPlan) else ()))
    batch = score_batch(scheme, context.targets, 64)
    result = search_mixed_precision(mixed, plan, excluded, candidate.spec, context, batch_size=batch)
    report.tables["sensitivity"] = result.rows
    note = result.note.model_copy(update={"values": {**result.note.values, "bits": MORE_BITS}}) if in_blocks else result.note
    report.notes.append(note)
    if not result.within_budget:
        report.warnings.append(note)
    if in_blocks:
        return replace(options, eight_bits=(*options.eight_bits, *result.float_layers))
    return replace(options, exclude=(*options.exclude, *result.float_layers))


def _max_loss(stage: Quantize, source: Path, context: Context) -> float:
    """Largest loss of the metric that the acceptance test allows."""
    limit = None if stage.accept_if is None else stage.accept_if.loss_limit(context.task.metric_info)
    if limit is not None:
        return limit
    task, split = context.task, context.data.validation
    return allowed_loss(ACCEPTED_LOSS, task.metric_info, lambda: run_split(source, split, task).metric)


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
