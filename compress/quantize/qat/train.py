"""Quantization-aware training of a network; the result is used only if it is at least as accurate as before."""

from __future__ import annotations

from dataclasses import dataclass, field

from onnx import ModelProto
from torch import nn

from compress.backends.compare_on_split import compare_on_split
from compress.backends.run_split import run_split
from compress.core.environment import is_main
from compress.core.errors import ConversionError
from compress.core.fact import Fact
from compress.core.language import gettext, message_of
from compress.core.record import Curve, Metrics, Quantity
from compress.core.stage import Candidate, Context
from compress.quantize.qat.qdq_module import export_learned, freeze_like, to_fake_quantized
from compress.quantize.settings import QATSettings
from compress.quantize.static_int8 import StaticInt8Plan
from compress.train.finetune import finetune
from compress.train.history import History

RUNTIME = "onnxruntime"
"""Runtime whose placement is used in training: it has all Q/DQ pairs of the other runtimes, and it is always installed."""


@dataclass(frozen=True, eq=False)
class QATResult:
    """Plan from which files are written, and results for the record."""

    static: StaticInt8Plan
    results: Metrics = field(default_factory=dict)
    curves: dict[str, Curve] = field(default_factory=dict)
    notes: tuple[Fact, ...] = ()
    skipped: tuple[Fact, ...] = ()


def train_quantized(
    static: StaticInt8Plan,
    exclude: tuple[str, ...],
    settings: QATSettings,
    candidate: Candidate,
    context: Context,
) -> QATResult:
    """Train with the placement of `RUNTIME`; weights, scales and ranges are used in the files of all runtimes.

    Weights that are frozen in the candidate are not changed. If the trained network is less accurate on validation than before,
    the result is discarded.

    Args:
        static: Result of post-training quantization and calibration.
        exclude: Names of nodes that stay in float.
        settings: Settings of the training.
        candidate: Float network; it is the teacher unless the settings name another one.
        context: Data, task, folders, seed and device.
    """
    try:
        module = to_fake_quantized(static, RUNTIME, exclude, learned=settings.scales == "learned")
    except ConversionError as error:
        return QATResult(static, skipped=(Fact.of("quantize_ptq.recover_not_possible", "recover", error=message_of(error)),))
    frozen = freeze_like(module, static, candidate.network())
    in_float32 = settings.model_copy(update={"precision": "no"})
    history = finetune(module, in_float32, parent=candidate.network(), context=context, label="recover")
    if not is_main():
        return QATResult(static)
    learned = export_learned(static, RUNTIME, exclude, module)
    try:
        before, after = (plan.build(RUNTIME, exclude, candidate.spec) for plan in (static, learned))
        results, better = compare_recovered(before, after, module, context)
    except Exception as error:  # the runtime's exceptions have no common base but Exception
        if not type(error).__module__.startswith("onnxruntime"):
            raise
        missing = Quantity.missing(context.task.metric_info.unit, gettext("the file does not run: {error}", error=error))
        results, better = {f"{context.task.metric}_validation_recovered": missing}, False
    note = Fact.of(
        "quantize_ptq.recovered" if better else "quantize_ptq.recovery_discarded",
        RUNTIME,
        bits=static.bits,
        scales=settings.scales,
        best_epoch=history.best_epoch,
        epochs=history.epochs,
    )
    notes = [note] if not frozen else [note, Fact.of("quantize_ptq.frozen_layers_not_trained", count=frozen)]
    curves = {f"recover {name}": curve for name, curve in history.curves.items()}
    return QATResult(learned if better else static, results | epochs_of(history), curves, (*notes, *history.notes))


def compare_recovered(before: ModelProto, after: ModelProto, module: nn.Module, context: Context) -> tuple[Metrics, bool]:
    """Metrics of both files, with the agreement of the second with the trained module, and whether the second is not worse."""
    split, source = context.data.validation, gettext("ONNX Runtime, validation split")
    metric, task = context.task.deciding, context.task
    calibrated = run_split(before, split, task, batch_size=64)
    trained = compare_on_split(module, after, split, task, batch_size=256, other_batch_size=64)
    agreement, runs = trained.agreement.top1, len(trained.other)
    scores = [calibrated.metric, metric.value(trained.other)]
    worse = scores[1] < scores[0] if metric.info.higher_is_better else scores[1] > scores[0]
    unit = metric.info.unit
    results = {
        f"{task.metric}_validation_calibrated": Quantity.measured(
            scores[0], unit, gettext("before recovery; {source}", source=source), runs=runs
        ),
        f"{task.metric}_validation_recovered": Quantity.measured(
            scores[1], unit, gettext("after recovery; {source}", source=source), runs=runs
        ),
    }
    if agreement is not None:
        detail = gettext("outputs of the file with the same class as the fake-quantized network; {source}", source=source)
        results["agreement_with_trained"] = Quantity.measured(agreement, "fraction", detail, runs=runs)
    return results, not worse


def epochs_of(history: History) -> Metrics:
    """Epochs of recovery, and the best of them."""
    return {
        "epochs": Quantity.measured(history.epochs, "1", gettext("epochs of recovery that were run")),
        "best_epoch": Quantity.measured(history.best_epoch, "1", gettext("epoch with the best validation metric")),
    }
