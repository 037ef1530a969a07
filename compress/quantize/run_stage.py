"""Run the quantization stage: calibrate, quantize, write a file for each runtime, compare, run the acceptance test."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import onnx_ir as ir
from onnx import ModelProto

from compress.backends import onnx_files
from compress.backends.feeds import first_feeds
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.stage import Candidate, Context, Outcome
from compress.quantize import schemes
from compress.quantize.analysis.accuracy_vs_float import compare_with_float
from compress.quantize.analysis.layer_report import ReportSection, report_layers
from compress.quantize.apply_acceptance import accept
from compress.quantize.build_static import build_static, plan_static
from compress.quantize.load_float import load_quantizable
from compress.quantize.qdq import placement
from compress.quantize.stage_report import StageReport
from compress.quantize.target_requirements import (
    MODEL_FILES,
    local_device,
    runtimes_to_build,
    score_batch,
    seven_bit_weights,
    target_runtimes,
)

if TYPE_CHECKING:
    from compress.quantize.stage import Quantize


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
        models = _build_other(stage, model, runtimes, excluded, candidate, context, report)
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
    accept(stage, source, files, context, report)
    return report.outcome(Candidate(candidate.spec, files=files, lineage=candidate.lineage))


def _build_other(
    stage: Quantize,
    model: ir.Model,
    runtimes: tuple[str, ...],
    excluded: tuple[str, ...],
    candidate: Candidate,
    context: Context,
    report: StageReport,
) -> Mapping[str, ModelProto]:
    """The network for each runtime in a scheme other than static int8."""
    options = schemes.SchemeOptions(
        per_channel=stage.per_channel, seven_bits=seven_bit_weights(context.targets), exclude=excluded
    )
    quantized = schemes.build_models(stage.scheme, model, runtimes, options)
    for network in quantized.models.values():
        onnx_files.write_metadata(network, candidate.spec)
        onnx_files.check(network)
    report.notes += quantized.notes
    report.skipped += quantized.skipped
    return quantized.models


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
