"""Fuse the float and the quantized file of a stage for ONNX Runtime on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from compress.core.signature import Signature
from compress.core.stage import Context
from compress.profile.fused_network import QUANTIZED_TOLERANCE, fuse_if_faster
from compress.quantize.stage_report import StageReport
from compress.quantize.target_requirements import local_device

SECONDS = 0.5
"""Timing of each file at each size."""
FUSED_FLOAT_FILE = "float.fused.onnx"


def fuse_files(source: Path, files: Mapping[str, Path], signature: Signature, context: Context, report: StageReport) -> Path:
    """Fuse the quantized file for ONNX Runtime in place, and write a fused float file to compare it with, each if faster.

    Nothing is fused in a smoke run, or if no target is this machine, because nothing is measured then.

    Args:
        source: Float file.
        files: Quantized files by runtime.
        signature: Inputs of the network, with the sizes of free axes.
        context: Targets and folder.
        report: Receives notes.

    Returns:
        The float file to compare with: the fused one, or `source`.
    """
    device = local_device(context.targets)
    if device is None or context.smoke:
        return source
    path, fused = files["onnxruntime"], context.folder / FUSED_FLOAT_FILE
    reporter = context.reporter
    is_fused, notes = fuse_if_faster(source, fused, signature, device, seconds=SECONDS, reporter=reporter)
    report.notes += notes
    if notes:
        report.notes += fuse_if_faster(
            path, path, signature, device, seconds=SECONDS, reporter=reporter, tolerance=QUANTIZED_TOLERANCE
        )[1]
    return fused if is_fused else source
