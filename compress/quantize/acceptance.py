"""The gate: is the quantized network, on this machine, faster than the float one, and still right?

Every file runs in every runtime that it was made for, float beside quantized, in one interleaved session. The fastest
quantized one that is right enough is held against the fastest float one. Noise does not decide: slower means slower, and too
much lost means too much lost, with the whole interval.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compress.backends.open import open_runner
from compress.backends.run_split import collect_outputs
from compress.core.errors import CompressError
from compress.core.progress import Reporter
from compress.core.record import Metrics, Quantity, Skipped
from compress.core.statistics import paired_difference
from compress.data.interface import Split
from compress.profile.latency.timing import speedup, time_runners

if TYPE_CHECKING:
    from compress.backends.runner import FileRunner
    from compress.profile.latency.timing import Timing

FLOAT, QUANTIZED = "float", "quantized"
Scores = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Outputs (N, K) and targets (N,) to a score of each sample."""


@dataclass(frozen=True)
class AcceptanceCriteria:
    """What is asked and how it is measured.

    Attributes:
        accuracy_drop: Largest loss of the metric.
        seconds: Counted time of each file in each runtime.
        threads: Within an operator.
        batch: Samples in one run.
    """

    accuracy_drop: float
    seconds: float
    threads: int = 1
    batch: int = 1


@dataclass(frozen=True)
class AcceptanceResult:
    """What came of it.

    Attributes:
        passed: The quantized network is worth having.
        runtime: Where the quantized one is best; None where none runs or none is right enough.
        rows: One a file and runtime: `network`, `runtime`, `latency_p50_ms`, `accuracy_drop`, `chosen`.
        results: `gate_speedup`, `gate_accuracy_drop`.
        skipped: Runtimes that cannot run here.
        note: The verdict in a sentence.
    """

    passed: bool
    runtime: str | None
    rows: tuple[dict[str, Any], ...]
    results: Metrics
    skipped: tuple[Skipped, ...]
    note: str


def check_acceptance(
    parent: Path,
    files: Mapping[str, Path],
    runtimes: Sequence[str],
    split: Split,
    scores: Scores,
    terms: AcceptanceCriteria,
    *,
    reporter: Reporter,
) -> AcceptanceResult:
    """Compare.

    Args:
        parent: Float ONNX file.
        files: Quantized ONNX files by runtime family; a runtime without one of its own takes that of `onnxruntime`.
        runtimes: As in a device profile, the profile's own first.
        split: Samples to be right on.
        scores: The task's.
        terms: What is asked.
        reporter: Shows a bar.

    Raises:
        CompressError: The first runtime does not run the files.
    """
    with ExitStack() as stack:
        runners, skipped = _opened(parent, files, runtimes, terms.threads, stack)
        answers = {key: _answers(runner, split, scores) for key, runner in runners.items()}
        inputs = next(iter(split.ordered(terms.batch))).inputs.numpy()
        timings = time_runners(
            {" ".join(key): runner for key, runner in runners.items()},
            {" ".join(key): {next(iter(runner.shapes())): inputs} for key, runner in runners.items()},
            batch=terms.batch,
            seconds=terms.seconds,
            warmup_seconds=terms.seconds / 5,
            min_runs=10,
            reporter=reporter,
        )
    reference = answers[FLOAT, runtimes[0]]
    drops = {runtime: _drop(reference, answers[QUANTIZED, runtime]) for network, runtime in runners if network == QUANTIZED}
    return _verdict({key: timings[" ".join(key)] for key in runners}, drops, terms, skipped)


def _opened(
    parent: Path, files: Mapping[str, Path], runtimes: Sequence[str], threads: int, stack: ExitStack
) -> tuple[dict[tuple[str, str], FileRunner], tuple[Skipped, ...]]:
    """Runners by network and runtime, and the runtimes that do not take both files."""
    runners: dict[tuple[str, str], FileRunner] = {}
    skipped = []
    for runtime in dict.fromkeys(runtimes):
        quantized = files.get(runtime.partition(":")[0], files["onnxruntime"])
        try:
            both = [stack.enter_context(open_runner(runtime, path, threads=threads)) for path in (parent, quantized)]
        except CompressError as error:
            if not runners:
                raise
            skipped.append(Skipped(what=f"runtime {runtime}", reason=str(error)))
            continue
        runners |= {(FLOAT, runtime): both[0], (QUANTIZED, runtime): both[1]}
    return runners, tuple(skipped)


def _verdict(
    timings: Mapping[tuple[str, str], Timing],
    drops: Mapping[str, Quantity],
    terms: AcceptanceCriteria,
    skipped: tuple[Skipped, ...],
) -> AcceptanceResult:
    def middle(key: tuple[str, str]) -> float:
        return float(np.median(timings[key].milliseconds))

    fast_float = min((key for key in timings if key[0] == FLOAT), key=middle)
    right = [(QUANTIZED, runtime) for runtime, drop in drops.items() if (drop.low or 0.0) <= terms.accuracy_drop]
    candidates = right or [(QUANTIZED, runtime) for runtime in drops]
    best = min(candidates, key=middle)
    gain = speedup(timings[fast_float], timings[best])
    slower = gain.high is not None and gain.high < 1.0
    drop = drops[best[1]]
    passed = bool(right) and not slower
    interval = f"{drop.low:.4f} to {drop.high:.4f}"
    lost = "" if right else f"loses {drop.value:.4f} of the metric ({interval}), {terms.accuracy_drop:g} is allowed"
    ratio = f"takes {middle(best):.3g} ms in {best[1]}, the float network {middle(fast_float):.3g} ms in {fast_float[1]}"
    verdict = "passed" if passed else "failed: the quantized network " + " and ".join(
        part for part in (lost, "is slower" if slower else "") if part
    )  # fmt: skip
    rows = tuple(
        {
            "network": network,
            "runtime": runtime,
            "version": timing.settings["runtime"],
            "latency_p50_ms": timing.p50.model_dump(mode="json"),
            "accuracy_drop": drops[runtime].model_dump(mode="json") if network == QUANTIZED else None,
            "chosen": (network, runtime) == (best if passed else fast_float),
        }
        for (network, runtime), timing in timings.items()
    )
    results = {"gate_speedup": gain, "gate_accuracy_drop": drop}
    return AcceptanceResult(
        passed, best[1] if right else None, rows, results, skipped, f"gate {verdict}; the quantized one {ratio}"
    )


def _answers(runner: FileRunner, split: Split, scores: Scores) -> np.ndarray:
    """Score of each sample."""
    return scores(*collect_outputs(runner, split, batch_size=32))


def _drop(reference: np.ndarray, found: np.ndarray) -> Quantity:
    lost, low, high = paired_difference(reference, found)
    detail = f"against the float parent, same {len(found)} validation samples, paired 95 % interval"
    return Quantity.measured(lost, "fraction", detail, interval=(low, high), runs=len(found))
