"""What the quantization stage does: calibrate, quantize, write a file for each runtime family, compare and judge."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import ModelProto

from compress.backends import onnx_cleanup
from compress.backends import onnx_graph as graphs
from compress.core.atomic_files import write_with
from compress.core.environment import is_main
from compress.core.errors import ConversionError
from compress.core.record import Curve, Fact, Quantity
from compress.core.stage import Candidate, Context, Outcome
from compress.quantize import schemes
from compress.quantize.acceptance import AcceptanceCriteria, AcceptanceResult, check_acceptance
from compress.quantize.analysis.accuracy_vs_float import compare_with_float
from compress.quantize.analysis.layer_report import ReportSection, report_layers
from compress.quantize.calibration.choose_samples import sample_calibration_set
from compress.quantize.calibration.tune_ranges import tune_ranges
from compress.quantize.mixed_precision.search import search_mixed_precision
from compress.quantize.qat.train import FAMILY, train_quantized
from compress.quantize.qdq import placement
from compress.quantize.qdq import quantize_graph as int8
from compress.quantize.qdq.rewrite_pooling import reducemean_to_gap
from compress.quantize.static_int8 import StaticInt8Plan, plan_static_int8
from compress.quantize.target_requirements import (
    MODEL_FILES,
    local_device,
    needs_7bit_weights,
    per_tensor_weights,
    runtimes_to_build,
    symmetric_activations,
    target_runtimes,
)

if TYPE_CHECKING:
    from compress.quantize.stage import Quantize

BATCH = 8
FEW = 16
"""Images under which ranges are rough."""
LEAST_OPSET = 13
"""The first in which Q/DQ have a scale for each channel."""
KEPT_FLOAT = "model.float.onnx"


def run(stage: Quantize, candidate: Candidate, context: Context) -> Outcome:
    """See `Quantize.run`."""
    scheme = "int8" if stage.scheme == "auto" else stage.scheme
    wanted = runtimes_to_build(context.targets)
    schemes.check_runtimes(scheme, target_runtimes(context.targets))
    source = _float_file(candidate, context)
    model = _checked(graphs.load(source))
    excluded = placement.match_keep_float(model, stage.keep_float)
    tables: dict[str, tuple[dict[str, Any], ...]] = {}
    notes: tuple[Fact | str, ...] = ()
    warnings: tuple[Fact | str, ...] = ()
    skipped: list[Fact] = []
    gained: dict[str, Quantity] = {}
    curves: dict[str, Curve] = {}
    made: dict[str, ModelProto]
    rescaled: ModelProto | None = None
    if scheme == "int8":
        static, notes, warnings = _static(stage, model, wanted, excluded, context)
        skipped, rescaled = [*skipped, *static.skipped], static.rescaled
        found: tuple[str, ...] = ()
        if stage.mixed is not None:
            mixed = search_mixed_precision(stage.mixed, static, excluded, candidate.spec, context)
            found, tables["sensitivity"], notes = mixed.float_layers, mixed.rows, (*notes, mixed.note)
            warnings = warnings if mixed.within_budget else (*warnings, mixed.note)
        if stage.recover is not None:
            kept = (*excluded, *found)
            learned = train_quantized(static, kept, stage.recover, candidate, context, bits=_bits(stage))
            if not is_main():
                return Outcome(candidate)  # it trained along; the first process writes
            static, gained, curves = learned.static, learned.results, learned.curves
            notes, skipped = (*notes, *learned.notes), [*skipped, *learned.skipped]
        made = {family: static.build(family, (*excluded, *found), candidate.spec) for family in wanted}
        left = {name: int8.float_layers(file, name, excluded, found) for name, file in made.items()}
        skipped += [fact for facts in left.values() for fact in facts]
        around_zero = symmetric_activations(context.targets) if stage.symmetric is None else stage.symmetric
        notes = (*notes, *_notes(stage, wanted, len(left["onnxruntime"]), around_zero))
    else:
        other = schemes.build_models(scheme, model, wanted, per_channel=stage.per_channel, exclude=excluded)
        made, notes = dict(other.models), other.notes
        skipped += other.skipped
        for one in made.values():
            onnx_cleanup.strip(one)
            graphs.write_metadata(one, candidate.spec)
    files = {family: context.folder / MODEL_FILES[family] for family in wanted}
    for family, path in files.items():
        graphs.save(made[family], path)
    results, tables["layer_sqnr"] = compare_with_float(
        source, files["onnxruntime"], context.data.validation, context.task, scheme, layers=rescaled
    )
    seen = _placed(stage, source, files["onnxruntime"], skipped, context)
    results, tables, notes = results | seen.results, tables | seen.tables, (*notes, *seen.notes)
    skipped += seen.skipped
    if (judged := _judge(stage, source, files, context)) is not None:
        results |= judged.results
        skipped += judged.skipped
        tables["acceptance"] = judged.rows
        told = (judged.note, *_kept(stage, judged, source, files, context))
        notes, warnings = (*notes, *told), warnings if judged.passed else (*warnings, *told)
    outcome = Candidate(candidate.spec, files=files, lineage=candidate.lineage)
    return Outcome(
        outcome,
        results=gained | results,
        skipped=tuple(skipped),
        notes=notes,
        warnings=warnings,
        curves=curves,
        tables=tables,
    )


def _static(
    stage: Quantize, model: ModelProto, wanted: tuple[str, ...], excluded: tuple[str, ...], context: Context
) -> tuple[StaticInt8Plan, tuple[Fact | str, ...], tuple[Fact, ...]]:
    """Ranges, steps and rounded weights, what to tell of them, and what of that nobody may miss."""
    chosen = sample_calibration_set(
        context.data.train, stage.calibration.samples, classes=len(context.data.spec.classes), seed=context.seed
    )
    notes: list[Fact | str] = [
        Fact.of("quantize.calibrated", method=stage.calibration.method, images=len(chosen), seed=context.seed)
    ]
    few = Fact.of("quantize.few_calibration_images", images=len(chosen), recommended=FEW)
    warnings = (few,) if len(chosen) < FEW else ()
    notes += warnings
    _refuse_constant(chosen)
    fixed = model.graph.input[0].type.tensor_type.shape.dim[0].dim_value
    static = plan_static_int8(
        model,
        _parted(chosen, fixed or BATCH),
        wanted,
        stage.calibration,
        stage.ptq,
        per_channel=stage.per_channel and not per_tensor_weights(context.targets),
        symmetric=symmetric_activations(context.targets) if stage.symmetric is None else stage.symmetric,
        seven_bit_weights=needs_7bit_weights(),
        exclude=excluded,
        reporter=context.reporter,
    )
    notes += static.notes
    if epochs := stage.calibration.learn_epochs:
        options: dict[str, Any] = {"exclude": excluded, "seed": context.seed, "reporter": context.reporter}
        found = tune_ranges(static, FAMILY, chosen, epochs=epochs, bits=_bits(stage), **options)
        static = replace(found.static, skipped=(*static.skipped, *found.skipped))
        notes += found.notes
    return static, tuple(notes), warnings


def _bits(stage: Quantize) -> int:
    """Of weights as they are computed with on this machine."""
    bits = stage.ptq.weights.bits
    return min(bits, 7) if needs_7bit_weights() else bits


def _placed(stage: Quantize, source: Path, made: Path, skipped: list[Fact], context: Context) -> ReportSection:
    """Layer by layer, what ONNX Runtime computes in int8."""
    if stage.scheme == "bf16":
        return ReportSection(skipped=(Fact.of("quantize.bfloat16_not_measured"),))
    device = local_device(context.targets)
    inputs = next(iter(context.data.validation.ordered(device.contract.batch if device else 1))).inputs.numpy()
    seconds = 0.05 if context.smoke else 0.5
    return report_layers(source, made, skipped, inputs, threads=device.threads if device else 1, seconds=seconds)


def _judge(stage: Quantize, source: Path, files: dict[str, Path], context: Context) -> AcceptanceResult | None:
    """The gate's answer on this machine; None where it is not asked or no target is this machine."""
    device = local_device(context.targets)
    if stage.accept_if is None or device is None or context.smoke:
        return None
    criteria = AcceptanceCriteria(stage.accept_if.accuracy_drop, stage.accept_if.seconds, device.threads, device.contract.batch)
    return check_acceptance(source, files, (device.runtime, *device.runtimes), criteria, context)


def _kept(
    stage: Quantize, judged: AcceptanceResult, source: Path, files: dict[str, Path], context: Context
) -> tuple[Fact, ...]:
    """Put the float file in the quantized one's place where the verdict says so."""
    assert stage.accept_if is not None  # noqa: S101  # there is a judgement
    if judged.passed:
        return ()
    if stage.accept_if.keep == "quantized":
        return (Fact.of("quantize.quantized_network_ships"),)
    path = context.folder / KEPT_FLOAT
    write_with(path, lambda aside: shutil.copyfile(source, aside))
    files["onnxruntime"] = path
    files.pop("openvino", None)
    return (Fact.of("quantize.float_network_ships"),)


def _notes(stage: Quantize, wanted: tuple[str, ...], skips: int, around_zero: bool | None) -> tuple[Fact, ...]:
    formats = tuple(
        Fact.of(
            "quantize.numeric_format",
            runtime,
            bits=stage.ptq.weights.bits,
            seven_bit_weights=needs_7bit_weights(),
            symmetric=bool(around_zero),
            symmetric_chosen_by_runtime=stage.symmetric is None,
        )
        for runtime in wanted
    )
    return (*formats, Fact.of("quantize.float_operators", count=skips)) if skips else formats


def _float_file(candidate: Candidate, context: Context) -> Path:
    if context.to_onnx is None:
        msg = "a network is quantized from its ONNX file, and this context has no to_onnx"
        raise TypeError(msg)
    return context.to_onnx(candidate)


def _parted(samples: np.ndarray, size: int) -> list[np.ndarray]:
    return [samples[start : start + size] for start in range(0, len(samples), size)]


def _checked(model: ModelProto) -> ModelProto:
    """Refuse what cannot be quantized; spatial means as pools.

    Raises:
        ConversionError: The opset is too old, or weights are not finite.
    """
    opset = next((one.version for one in model.opset_import if one.domain in ("", "ai.onnx")), 0)
    if opset < LEAST_OPSET:
        msg = f"the network has ONNX opset {opset}, and quantization needs {LEAST_OPSET} or later; export it again"
        raise ConversionError(msg)
    graphs.check_finite(model)
    reducemean_to_gap(model)
    return model


def _refuse_constant(samples: np.ndarray) -> None:
    """Refuse images without content: every range would be that of one value.

    Raises:
        ConversionError: Saying so.
    """
    flat = samples.reshape(len(samples), -1)
    if (flat.max(1) == flat.min(1)).all():
        msg = f"all {len(samples)} calibration images are of one value each; check how the data are read and normalised"
        raise ConversionError(msg)
