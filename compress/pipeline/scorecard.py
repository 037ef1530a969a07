"""What one candidate is worth: accuracy, size, parameters, MACs and latency, each with its provenance.

Accuracy is measured on what would ship: an ONNX candidate runs under its runtime, a torch candidate as the module whose
float ONNX file is then compared with it at export.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from compress.backends.run_split import run_split
from compress.core.record import Metrics, Quantity
from compress.core.stage import Candidate
from compress.core.statistics import paired_difference, wilson
from compress.data.interface import Data, Split
from compress.models.count_macs import count
from compress.profile.latency.timing import Timing, measure, speedup

if TYPE_CHECKING:
    from torch import nn

    from compress.tasks.base import Task

LATENCY_SECONDS = 0.6
ONNX_RUNTIME = "onnxruntime"
COUNTED = ("parameters", "macs")


@dataclass(frozen=True)
class Score:
    """What one candidate is worth.

    Attributes:
        card: The scorecard.
        correct: Per-sample scores on the test split, which paired intervals need, float32 (N,).
        gain: `speedup_vs_before`: how many times faster it is than the network before, by one interleaved session; empty where
            there was none.
    """

    card: Metrics
    correct: np.ndarray
    gain: Metrics


def score(candidate: Candidate, file: Path, data: Data, task: Task, earlier: Metrics, *, rival: Path | None) -> Score:
    """Measure one candidate.

    Args:
        candidate: What to measure.
        file: Its ONNX file: the candidate itself, or the float export of a torch candidate.
        data: The splits; accuracy is given on test and, apart, on validation.
        task: The metric.
        earlier: Scorecard before the stage; an ONNX candidate keeps its parent's counts, since quantizing removes no work.
        rival: ONNX file of the stage before, timed in turns with this one so that drift hits both.
    """
    runtime = candidate.shipped[0] if candidate.module is None else ONNX_RUNTIME
    tested, correct = accuracy_of(candidate, data.test, task, "test")
    validated, _ = accuracy_of(candidate, data.validation, task, "validation")
    card: Metrics = {task.metric: tested, f"{task.metric}_validation": validated}
    card |= counts(candidate.module, data) if candidate.module is not None else kept(earlier, COUNTED)
    card["size_bytes"] = Quantity.measured(file.stat().st_size, "bytes", "ONNX file on disk")
    timed = timings({"this": file} | ({"rival": rival} if rival else {}), data, {"this": runtime})
    card["latency_ms"] = timed["this"].p50
    gain = {"speedup_vs_before": speedup(timed["rival"], timed["this"])} if rival else {}
    return Score(card, correct, gain)


def accuracy_of(candidate: Candidate, split: Split, task: Task, name: str) -> tuple[Quantity, np.ndarray]:
    """Metric of one split with its Wilson interval, and the per-sample scores behind it."""
    if candidate.module is not None:
        correct, where = module_correct(candidate.module, split, task), f"torch, {name} split"
    else:
        runtime, file = candidate.shipped
        correct = run_split(file, split, task, runtime=runtime).scores
        where = f"{'ONNX Runtime' if runtime == ONNX_RUNTIME else f'{file.name} in {runtime}'}, {name} split"
    return proportion(correct, where), correct


def module_correct(module: nn.Module, split: Split, task: Task) -> np.ndarray:
    """Per-sample scores of a torch module on one split, float32 (N,)."""
    return run_split(module, split, task).scores


def proportion(correct: np.ndarray, where: str) -> Quantity:
    """Mean of per-sample scores with its Wilson interval."""
    hits = round(float(correct.sum()))
    return Quantity.measured(
        float(correct.mean()),
        "fraction",
        f"{where}; 95 % Wilson interval",
        interval=wilson(hits, len(correct)),
        runs=len(correct),
    )


def counts(module: nn.Module, data: Data) -> Metrics:
    """Parameters and multiply-accumulates of one sample."""
    counted = count(module, data.spec)
    return {
        "parameters": Quantity.measured(counted.parameters, "1", "counted on the module"),
        "macs": Quantity.measured(counted.macs, "MAC", "counted on the module, one sample"),
    }


def kept(earlier: Metrics, keys: Sequence[str]) -> Metrics:
    """The part of a scorecard that this stage does not change."""
    return {key: earlier[key] for key in keys if key in earlier}


def timings(files: dict[str, Path], data: Data, runtimes: Mapping[str, str] | None = None) -> dict[str, Timing]:
    """Time files against each other on one real test image, in ONNX Runtime unless `runtimes` names another."""
    batch = next(iter(data.test.ordered(1)))
    return measure(files, batch.inputs.numpy(), threads=1, seconds=LATENCY_SECONDS, runtimes=runtimes)


def drop(reference: np.ndarray, correct: np.ndarray, against: str) -> Quantity:
    """How much of the metric was lost against a reference, on the same samples; positive is a loss."""
    return _difference(reference, correct, against)


def gain(reference: np.ndarray, correct: np.ndarray, against: str) -> Quantity:
    """How much of the metric was won over a reference, on the same samples; positive is a gain."""
    return _difference(correct, reference, against)


def _difference(one: np.ndarray, other: np.ndarray, against: str) -> Quantity:
    middle, low, high = paired_difference(one, other)
    where = f"against {against}, same {len(one)} test samples, paired 95 % interval"
    return Quantity.measured(middle, "fraction", where, interval=(low, high), runs=len(one))
