"""The recovery of a quantized network: train with fake quantization, see what it brought, keep the better one."""

from __future__ import annotations

from dataclasses import dataclass, field

from compress.backends.run_split import collect_outputs
from compress.core.environment import is_main
from compress.core.errors import ConversionError
from compress.core.record import Curve, Metrics, Quantity, Skipped
from compress.core.stage import Candidate, Context
from compress.quantize.analysis.accuracy_vs_float import per_sample_scores
from compress.quantize.qat.onnx_to_torch import OnnxModule
from compress.quantize.qat.qdq_module import export_learned, to_fake_quantized
from compress.quantize.settings import QATSettings
from compress.quantize.static_int8 import StaticInt8Plan
from compress.train.finetune import finetune
from compress.train.history import History

FAMILY = "onnxruntime"
"""Whose placement is trained in: it has a pair wherever another family has one, and it is what runs here."""


@dataclass(frozen=True, eq=False)
class QATResult:
    """What files are to be made from, and what there is to record."""

    static: StaticInt8Plan
    results: Metrics = field(default_factory=dict)
    curves: dict[str, Curve] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    skipped: tuple[Skipped, ...] = ()


def train_quantized(
    static: StaticInt8Plan,
    exclude: tuple[str, ...],
    settings: QATSettings,
    candidate: Candidate,
    context: Context,
    *,
    bits: int,
) -> QATResult:
    """Train in place of the file of `FAMILY`; the weights, steps and ranges go into the files of all families.

    A training that leaves the network less accurate on validation than calibration alone is not taken.

    Args:
        static: What the ladder and calibration gave.
        exclude: Names of nodes that stay in float.
        settings: Of the training.
        candidate: The float network, the teacher unless the settings name another.
        context: Data, task, folders, seed, device.
        bits: Of weights.
    """
    try:
        module = to_fake_quantized(static, FAMILY, exclude, bits=bits, learned=settings.steps == "learned")
    except ConversionError as error:
        return QATResult(static, skipped=(Skipped(what="recover", reason=f"{error}; the network stays as it was calibrated"),))
    exact = settings.model_copy(update={"precision": "no"})
    history = finetune(module, exact, parent=candidate.network(), context=context, label="recover")
    if not is_main():
        return QATResult(static)
    learned = export_learned(static, FAMILY, exclude, module, bits=bits)
    try:
        results, better = _compared(static, learned, exclude, module, candidate, context)
    except Exception as error:  # the runtime's exceptions have no common base but Exception
        if not type(error).__module__.startswith("onnxruntime"):
            raise
        results, better = (
            {"accuracy_validation_recovered": Quantity.missing("fraction", f"the file does not run: {error}")},
            False,
        )
    note = (
        f"recovered with fake quantization where {FAMILY} has it: {bits}-bit weights, steps {settings.steps}, "
        f"best after epoch {history.best_epoch} of {history.epochs}"
    )
    if not better:
        note += "; it lost accuracy against calibration alone, which is kept: try a lower recover.lr or more epochs"
    curves = {f"recover {name}": curve for name, curve in history.curves.items()}
    return QATResult(learned if better else static, results | _of(history), curves, (note, *history.notes))


def _compared(
    before: StaticInt8Plan,
    after: StaticInt8Plan,
    exclude: tuple[str, ...],
    module: OnnxModule,
    candidate: Candidate,
    context: Context,
) -> tuple[Metrics, bool]:
    """Accuracy of both files, agreement of the second with what was trained; whether the second is worth keeping."""
    split, where = context.data.validation, "ONNX Runtime, validation split"
    calibrated, targets = collect_outputs(before.build(FAMILY, exclude, candidate.spec), split)
    trained, _ = collect_outputs(after.build(FAMILY, exclude, candidate.spec), split)
    scores = [float(per_sample_scores(context.task, outputs, targets).mean()) for outputs in (calibrated, trained)]
    fake, _ = collect_outputs(module, split, batch_size=256)
    same = float((trained.argmax(1) == fake.argmax(1)).mean())
    runs = len(targets)
    results = {
        "accuracy_validation_calibrated": Quantity.measured(scores[0], "fraction", f"before recovery; {where}", runs=runs),
        "accuracy_validation_recovered": Quantity.measured(scores[1], "fraction", f"after recovery; {where}", runs=runs),
        "agreement_with_trained": Quantity.measured(
            same, "fraction", f"answers of the file that are those of the fake-quantized network; {where}", runs=runs
        ),
    }
    return results, scores[1] >= scores[0]


def _of(history: History) -> Metrics:
    return {
        "epochs": Quantity.measured(history.epochs, "1", "of recovery run, of those asked for"),
        "best_epoch": Quantity.measured(history.best_epoch, "1", "with the best validation metric"),
    }
