"""Run the acceptance test of a stage and decide which network ships."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from compress.backends import onnx_files
from compress.core.fact import Fact
from compress.core.signature import Signature
from compress.core.stage import Context
from compress.quantize.acceptance import AcceptanceResult, check_acceptance, limits_only_quantized_meets
from compress.quantize.acceptance_timing import FLOAT, QUANTIZED, AcceptanceCriteria
from compress.quantize.serving import judge_by_requests, serving_mix
from compress.quantize.stage_report import StageReport
from compress.quantize.target_requirements import local_device, score_batch

if TYPE_CHECKING:
    from compress.quantize.stage import Quantize

FLOAT_FILE = "model.float.onnx"


def accept(
    stage: Quantize, source: Path, files: dict[str, Path], signature: Signature, context: Context, report: StageReport
) -> bool:
    """Run the acceptance test if this machine is a target; if it fails, the float file may replace the quantized one.

    Args:
        stage: Settings.
        source: Float file for ONNX Runtime.
        files: Quantized files by runtime; changed if the float network ships.
        signature: Inputs of the network, with the sizes of free axes.
        context: Data, task and targets.
        report: Receives the results.

    Returns:
        Whether the test passed, or was not run.
    """
    device = local_device(context.targets)
    if stage.accept_if is None or device is None or context.smoke:
        return True
    criteria = AcceptanceCriteria(
        stage.accept_if.loss_limit(context.task.metric_info),
        stage.accept_if.seconds,
        device.threads,
        device.contract.batch,
        score_batch(stage.scheme, context.targets, 32),
        signature,
    )
    acceptance = check_acceptance(source, files, (device.runtime, *device.runtimes), criteria, context)
    if (mix := serving_mix(stage, source, context)) is not None:
        acceptance = judge_by_requests(acceptance, source, files["onnxruntime"], mix, device.threads, report)
    acceptance = _limit_changes(acceptance, stage.accept_if.changed_tokens, report)
    report.results |= acceptance.results
    report.skipped += acceptance.skipped
    report.tables["acceptance"] = acceptance.table(QUANTIZED)
    report.tables |= {"acceptance_by_size": acceptance.by_size} if acceptance.by_size else {}
    report.notes.append(acceptance.note)
    if acceptance.passed:
        return True
    decision = Fact.of("quantize.quantized_network_ships")
    if stage.accept_if.keep == "better" and (limits := limits_only_quantized_meets(acceptance, context, device.name)):
        decision = Fact.of("quantize.quantized_network_meets_budget", limits=limits)
    elif stage.accept_if.keep == "better":
        decision = Fact.of("quantize.float_network_ships")
        report.tables["acceptance"] = acceptance.table(FLOAT)
        files["onnxruntime"] = context.folder / FLOAT_FILE
        onnx_files.copy(source, files["onnxruntime"])
        files.pop("openvino", None)
    report.notes.append(decision)
    report.warnings += [acceptance.note, decision]
    return False


def _limit_changes(acceptance: AcceptanceResult, limit: float | None, report: StageReport) -> AcceptanceResult:
    """The result of the test, failed if more greedy tokens change than allowed."""
    changed = report.results.get("changed_tokens")
    if limit is None or changed is None or changed.value is None:
        return acceptance
    lowest = changed.value if changed.low is None else changed.low
    if lowest <= limit:
        return acceptance
    note = acceptance.note
    values = {**note.values, "changed_tokens": changed.value, "max_changed_tokens": limit}
    return replace(acceptance, passed=False, accurate=False, note=Fact.of(note.code, note.subject, **values))
