"""Choose the fastest runtime of a device profile whose outputs agree with those of the first.

Names are `onnxruntime`, `onnxruntime:cuda` (with an execution provider), `openvino` and `tensorrt`. The first runtime is the
default. Another runtime replaces it only if the whole 95 % interval of its speed-up is above 1: noise alone does not suffice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from compress.backends.open_runner import file_for, open_runner, shipped_name
from compress.backends.runner_protocol import Array, Feeds
from compress.core.entries import Row
from compress.core.errors import CompressError
from compress.core.fact import Fact
from compress.core.language import gettext, message_of
from compress.core.progress import Reporter
from compress.core.record import Quantity
from compress.profile.latency.timing import Timing, speedup, time_runners
from compress.profile.runtimes.metric_check import MetricCheck
from compress.profile.settings import MeasurementSettings

LEAST_AGREEMENT = 0.98
"""Smallest allowed fraction of samples with the same class in both runtimes."""
LARGEST_DIFFERENCE = 0.1
"""Largest allowed difference of the outputs, as a fraction of the largest output."""


@dataclass(frozen=True)
class RuntimeAgreement:
    """Agreement of the outputs of two runtimes.

    Attributes:
        difference: Largest absolute difference ÷ largest absolute output of the first runtime.
        top1: Fraction of samples with the same largest output; None if the first output is not (N, K).
        samples: Number of samples compared.
    """

    difference: float
    top1: float | None
    samples: int

    @property
    def holds(self) -> bool:
        """Whether the difference and the top-1 agreement are within the limits."""
        return self.difference <= LARGEST_DIFFERENCE and (self.top1 is None or self.top1 >= LEAST_AGREEMENT)


@dataclass(frozen=True)
class RuntimeChoice:
    """Result of a comparison of runtimes.

    Attributes:
        runtime: The chosen runtime.
        rows: One per runtime that ran: `runtime`, `version`, `file` (of the subject that was timed), `latency_p50_ms`,
            `throughput_per_s`, `top1_agreement`, `largest_difference`, `chosen`, and `metric` with a check; quantities as JSON.
        skipped: Runtimes that do not run on this machine, with the reason.
        notes: Reason of the choice, and runtimes whose outputs do not agree.
    """

    runtime: str
    rows: tuple[Row, ...]
    skipped: tuple[Fact, ...]
    notes: tuple[Fact, ...]


@dataclass(frozen=True)
class RuntimeInputs:
    """Networks that every runtime must run, and their inputs.

    Attributes:
        files: ONNX files by subject.
        feeds: Batches of inputs by subject.
        timed: Subject that is timed; the outputs of all subjects are compared.
        variants: Files of the timed subject for runtimes that need another file than `files`, by runtime family.
        check: The metric of the timed subject, which a runtime must keep; None compares outputs alone.
    """

    files: Mapping[str, Path]
    feeds: Mapping[str, Sequence[Feeds]]
    timed: str = "artifact"
    variants: Mapping[str, Path] = field(default_factory=dict)
    check: MetricCheck | None = None

    def files_in(self, runtime: str) -> dict[str, Path]:
        """The files that a runtime runs, by subject."""
        return {**self.files, self.timed: file_for(runtime, self.variants, self.files[self.timed])}

    def metrics(self, runtimes: Sequence[str]) -> dict[str, Quantity]:
        """Metric of the timed subject in each runtime; empty without a check."""
        check = self.check
        if check is None:
            return {}
        return {name: check.score(file_for(name, self.variants, self.files[self.timed]), name) for name in runtimes}

    def outputs(self, runtime: str, threads: int) -> dict[str, list[list[Array]]]:
        """Outputs of a runtime by subject and batch.

        Raises:
            CompressError: The runtime is not installed, or does not run a file.
        """
        outputs = {}
        for subject, path in self.files_in(runtime).items():
            with open_runner(runtime, path, threads=threads) as runner:
                outputs[subject] = [runner.run(batch) for batch in self.feeds[subject]]
        return outputs


def compare_runtimes(first: Sequence[Sequence[Array]], second: Sequence[Sequence[Array]]) -> RuntimeAgreement:
    """Compare the outputs of two runtimes.

    Args:
        first: Outputs of the reference runtime by batch, each a list of arrays.
        second: Outputs of the other runtime in the same form.
    """
    batches = [*zip(first, second, strict=True)]
    pairs = [pair for reference, other in batches for pair in zip(reference, other, strict=True)]
    largest = max((float(np.abs(a).max()) for a, _ in pairs if a.size), default=0.0)
    errors = [np.abs(a.astype(np.float64) - b.astype(np.float64)) for a, b in pairs if a.size]
    difference = max((float(error.max()) for error in errors), default=0.0) / (largest or 1.0)
    heads = [(reference[0], other[0]) for reference, other in batches]
    samples = sum(len(a) if a.ndim else 1 for a, _ in heads)
    top1 = None
    if heads and all(a.ndim == 2 and a.shape[1] > 1 for a, _ in heads):
        top1 = sum(int((a.argmax(1) == b.argmax(1)).sum()) for a, b in heads) / samples
    return RuntimeAgreement(difference if np.isfinite(difference) else float("inf"), top1, samples)


def choose_runtime(
    runtimes: Sequence[str],
    inputs: RuntimeInputs,
    settings: MeasurementSettings,
    *,
    batch: int,
    reporter: Reporter,
) -> RuntimeChoice:
    """Time one subject in all runtimes in turns and choose the fastest runtime that agrees with the first.

    A runtime that is not installed or does not run all files is skipped, because all files are then measured in one runtime.

    Args:
        runtimes: Names of runtimes, the default first.
        inputs: Networks and their inputs.
        settings: Settings of the measurement.
        batch: Samples per run.
        reporter: Shows a progress bar.

    Raises:
        CompressError: The default runtime does not run the files.
    """
    default, *others = dict.fromkeys(runtimes)
    expected = inputs.outputs(default, settings.threads)
    agreements: dict[str, RuntimeAgreement] = {}
    skipped = []
    for name in others:
        try:
            outputs = inputs.outputs(name, settings.threads)
        except CompressError as error:
            skipped.append(Fact.of("profile.runtime_failed", name, error=message_of(error)))
        else:
            agreements[name] = _worst([compare_runtimes(expected[subject], outputs[subject]) for subject in inputs.files])
    metrics = inputs.metrics((default, *agreements))
    lost = [name for name in metrics if inputs.check is not None and not inputs.check.keeps(metrics[default], metrics[name])]
    paths = {name: inputs.files_in(name)[inputs.timed] for name in (default, *agreements)}
    with ExitStack() as stack:
        runners = {name: stack.enter_context(open_runner(name, path, threads=settings.threads)) for name, path in paths.items()}
        feeds = dict.fromkeys(runners, inputs.feeds[inputs.timed][0])
        timings = time_runners(runners, feeds, settings.timing, batch=batch, reporter=reporter)
    kept = {name: agreement for name, agreement in agreements.items() if name not in lost}
    fastest = _fastest(default, timings, kept)
    rows = tuple(
        _row(name, paths[name], timings[name], agreements.get(name), chosen=name == fastest)
        | ({"metric": metrics[name].model_dump(mode="json")} if name in metrics else {})
        for name in timings
    )
    notes = [*_lost_notes(default, lost, metrics), *_notes(default, fastest, timings, agreements, paths)]
    return RuntimeChoice(fastest, rows, tuple(skipped), tuple(notes))


def _lost_notes(default: str, lost: Sequence[str], metrics: Mapping[str, Quantity]) -> list[Fact]:
    """Runtimes whose metric is lower than that of the default by more than is allowed."""
    return [
        Fact.of(
            "profile.runtime_loses_metric",
            name,
            default=default,
            value=metrics[name].value,
            reference=metrics[default].value,
            detail=metrics[name].detail,
        )
        for name in lost
        if name != default
    ]


def _worst(agreements: Sequence[RuntimeAgreement]) -> RuntimeAgreement:
    """The agreement over all subjects: the largest difference and the smallest top-1 agreement."""
    tops = [agreement.top1 for agreement in agreements if agreement.top1 is not None]
    return replace(
        agreements[0], difference=max(agreement.difference for agreement in agreements), top1=min(tops, default=None)
    )


def _fastest(default: str, timings: Mapping[str, Timing], agreements: Mapping[str, RuntimeAgreement]) -> str:
    fastest = default
    for name, agreement in agreements.items():
        gain = speedup(timings[fastest], timings[name])
        if agreement.holds and gain.low is not None and gain.low > 1.0:
            fastest = name
    return fastest


def _row(name: str, path: Path, timing: Timing, agreement: RuntimeAgreement | None, *, chosen: bool) -> dict[str, object]:
    detail = gettext("the reference of the comparison")
    top1 = Quantity.missing("fraction", detail)
    if agreement is not None:
        top1 = Quantity.missing("fraction", gettext("the first output has no class scores"))
    if agreement is not None and agreement.top1 is not None:
        top1 = Quantity.measured(agreement.top1, "fraction", gettext("same class as the first runtime"), runs=agreement.samples)
    return {
        "runtime": name,
        "version": timing.settings["runtime"],
        "file": shipped_name(name, path),
        "latency_p50_ms": timing.p50.model_dump(mode="json"),
        "throughput_per_s": timing.throughput.model_dump(mode="json"),
        "top1_agreement": top1.model_dump(mode="json"),
        "largest_difference": None if agreement is None else min(agreement.difference, float(np.finfo(np.float32).max)),
        "chosen": chosen,
    }


def _notes(
    default: str,
    fastest: str,
    timings: Mapping[str, Timing],
    agreements: Mapping[str, RuntimeAgreement],
    paths: Mapping[str, Path],
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
        fastest,
        file=shipped_name(fastest, paths[fastest]) if len({shipped_name(*each) for each in paths.items()}) > 1 else "",
        first=fastest == default,
        runtimes=tuple(medians_ms),
        latency_ms=tuple(medians_ms.values()),
    )
    return [*notes, choice]
