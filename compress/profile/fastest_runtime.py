"""Which runtime to measure in: of those that a profile names, the one that runs the artifact fastest and answers alike.

`onnxruntime`, `onnxruntime:cuda` (an execution provider after the colon), `openvino`, `tensorrt`. The first one named is the
profile's own; another takes its place only when its speed-up is above 1 with its whole interval, so that noise does not choose.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from compress.backends.open_runner import file_for, open_runner
from compress.backends.runner_protocol import Array, Feeds, zero_feeds
from compress.core.errors import CompressError
from compress.core.fact import Fact
from compress.core.progress import Reporter
from compress.core.record import Quantity
from compress.profile.latency.timing import Timing, speedup, time_runners
from compress.profile.settings import MeasurementSettings

LEAST_AGREEMENT = 0.98
"""Part of the samples on which two runtimes must name the same class."""
LARGEST_DIFFERENCE = 0.1
"""Largest difference of two runtimes' outputs, as a part of the largest output."""


@dataclass(frozen=True)
class RuntimeAgreement:
    """How the outputs of two runtimes compare.

    Attributes:
        difference: Largest absolute difference ÷ largest absolute output of the first.
        top1: Part of the samples with the same largest output; None where the first output is not (N, K).
        samples: Compared.
    """

    difference: float
    top1: float | None
    samples: int

    @property
    def holds(self) -> bool:
        """Near enough to be the same network."""
        return self.difference <= LARGEST_DIFFERENCE and (self.top1 is None or self.top1 >= LEAST_AGREEMENT)


@dataclass(frozen=True)
class RuntimeChoice:
    """What came of comparing runtimes.

    Attributes:
        runtime: The one to measure in.
        rows: One a runtime that ran: `runtime`, `version`, `file` (of the subject that was timed), `latency_p50_ms`,
            `throughput_per_s`, `top1_agreement`, `largest_difference`, `chosen`; quantities as JSON.
        skipped: Runtimes that cannot run here, with the reason.
        notes: Why one was chosen, and which did not agree.
    """

    runtime: str
    rows: tuple[dict[str, Any], ...]
    skipped: tuple[Fact, ...]
    notes: tuple[Fact, ...]


def noise_feeds(runtime: str, path: Path, batch: int, count: int = 8) -> list[Feeds]:
    """Batches of normal noise of a file's own input shapes, for a file that comes without data; integers are zeros.

    Raises:
        ConversionError: The file cannot be loaded.
        DeviceError: Its input shapes are not known.
    """
    random = np.random.default_rng(0)
    with open_runner(runtime, path) as runner:
        shapes = zero_feeds(runner, batch)
    return [
        {
            name: random.normal(size=array.shape).astype(array.dtype) if array.dtype.kind == "f" else array
            for name, array in shapes.items()
        }
        for _ in range(count)
    ]


def compare_outputs(first: Sequence[Sequence[Array]], second: Sequence[Sequence[Array]]) -> RuntimeAgreement:
    """Hold the outputs of two runtimes against each other.

    Args:
        first: Outputs by batch, the reference.
        second: The same of the other.
    """
    pairs = [pair for ours, theirs in zip(first, second, strict=True) for pair in zip(ours, theirs, strict=True)]
    largest = max((float(np.abs(a).max()) for a, _ in pairs if a.size), default=0.0)
    errors = [np.abs(a.astype(np.float64) - b.astype(np.float64)) for a, b in pairs if a.size]
    difference = max((float(error.max()) for error in errors), default=0.0) / (largest or 1.0)
    heads = [(ours[0], theirs[0]) for ours, theirs in zip(first, second, strict=True)]
    samples = sum(len(a) if a.ndim else 1 for a, _ in heads)
    top1 = None
    if heads and all(a.ndim == 2 and a.shape[1] > 1 for a, _ in heads):
        top1 = sum(int((a.argmax(1) == b.argmax(1)).sum()) for a, b in heads) / samples
    return RuntimeAgreement(difference if np.isfinite(difference) else float("inf"), top1, samples)


def choose_runtime(
    runtimes: Sequence[str],
    files: Mapping[str, Path],
    feeds: Mapping[str, Sequence[Feeds]],
    plan: MeasurementSettings,
    *,
    batch: int,
    reporter: Reporter,
    by: str = "artifact",
    made: Mapping[str, Path] | None = None,
) -> RuntimeChoice:
    """Time one subject in every runtime, interleaved, and keep the fastest of those that agree with the first.

    A runtime is left out, with the reason, when it is not installed or does not run one of the files: all are to be measured in
    the same one.

    Args:
        runtimes: Names, the profile's own first.
        files: ONNX files by subject.
        feeds: Batches of inputs by subject.
        plan: How to time.
        batch: Samples in one run.
        reporter: Shows a bar.
        by: The subject that is timed.
        made: Its files by runtime family, for runtimes that have one of their own; others take that of `files`.

    Raises:
        CompressError: The profile's own runtime does not run the files.
    """
    own, *others = dict.fromkeys(runtimes)
    paths_by_runtime = {name: {**files, by: file_for(name, made or {}, files[by])} for name in (own, *others)}
    expected = _outputs(own, paths_by_runtime[own], feeds, plan.threads)
    agreements: dict[str, RuntimeAgreement] = {}
    skipped = []
    for name in others:
        try:
            outputs = _outputs(name, paths_by_runtime[name], feeds, plan.threads)
        except CompressError as error:
            skipped.append(Fact.of("profile.runtime_failed", name, error=str(error)))
        else:
            agreements[name] = _worst([compare_outputs(expected[subject], outputs[subject]) for subject in files])
    with ExitStack() as stack:
        runners = {
            name: stack.enter_context(open_runner(name, paths_by_runtime[name][by], threads=plan.threads))
            for name in (own, *agreements)
        }
        timings = time_runners(
            runners,
            dict.fromkeys(runners, feeds[by][0]),
            batch=batch,
            seconds=plan.seconds,
            warmup_seconds=plan.warmup_seconds,
            min_runs=plan.min_runs,
            reporter=reporter,
        )
    chosen = _fastest(own, timings, agreements)
    paths = {name: paths_by_runtime[name][by] for name in timings}
    rows = tuple(_row(name, paths[name], timings[name], agreements.get(name), chosen=name == chosen) for name in timings)
    return RuntimeChoice(chosen, rows, tuple(skipped), tuple(_notes(own, chosen, timings, agreements, paths)))


def _outputs(
    runtime: str, files: Mapping[str, Path], feeds: Mapping[str, Sequence[Feeds]], threads: int
) -> dict[str, list[list[Array]]]:
    outputs = {}
    for subject, path in files.items():
        with open_runner(runtime, path, threads=threads) as runner:
            outputs[subject] = [runner.run(batch) for batch in feeds[subject]]
    return outputs


def _worst(agreements: Sequence[RuntimeAgreement]) -> RuntimeAgreement:
    tops = [agreement.top1 for agreement in agreements if agreement.top1 is not None]
    return replace(
        agreements[0], difference=max(agreement.difference for agreement in agreements), top1=min(tops, default=None)
    )


def _fastest(own: str, timings: Mapping[str, Timing], agreements: Mapping[str, RuntimeAgreement]) -> str:
    chosen = own
    for name, agreement in agreements.items():
        gain = speedup(timings[chosen], timings[name])
        if agreement.holds and gain.low is not None and gain.low > 1.0:
            chosen = name
    return chosen


def _row(name: str, path: Path, timing: Timing, agreement: RuntimeAgreement | None, *, chosen: bool) -> dict[str, Any]:
    detail = "its outputs are what the others are compared with"
    top1 = Quantity.missing("fraction", detail)
    if agreement is not None:
        top1 = Quantity.missing("fraction", "the first output is no list of classes")
    if agreement is not None and agreement.top1 is not None:
        top1 = Quantity.measured(agreement.top1, "fraction", "same class as the first runtime", runs=agreement.samples)
    return {
        "runtime": name,
        "version": timing.settings["runtime"],
        "file": path.name,
        "latency_p50_ms": timing.p50.model_dump(mode="json"),
        "throughput_per_s": timing.throughput.model_dump(mode="json"),
        "top1_agreement": top1.model_dump(mode="json"),
        "largest_difference": None if agreement is None else min(agreement.difference, float(np.finfo(np.float32).max)),
        "chosen": chosen,
    }


def _notes(
    own: str, chosen: str, timings: Mapping[str, Timing], agreements: Mapping[str, RuntimeAgreement], paths: Mapping[str, Path]
) -> list[Fact]:
    notes = [
        Fact.of(
            "profile.runtime_disagrees",
            name,
            difference=min(agreement.difference, float(np.finfo(np.float32).max)),
            top1=agreement.top1,
            samples=agreement.samples,
            largest_difference=LARGEST_DIFFERENCE,
            least_agreement=LEAST_AGREEMENT,
        )
        for name, agreement in agreements.items()
        if not agreement.holds
    ]
    if len(timings) <= 1:
        return notes
    medians_ms = {name: timing.p50.value for name, timing in timings.items() if timing.p50.value is not None}
    choice = Fact.of(
        "profile.runtime_chosen",
        chosen,
        file=paths[chosen].name if len(set(paths.values())) > 1 else "",
        first=chosen == own,
        runtimes=tuple(medians_ms),
        latency_ms=tuple(medians_ms.values()),
    )
    return [*notes, choice]
