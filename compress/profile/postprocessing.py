"""A network alone, with its post-processing in the graph, and with it outside: latency in one session, and the metric."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import TYPE_CHECKING, Self

import torch

from compress.backends import onnx_files
from compress.backends.feeds import fit_feeds
from compress.backends.iterate_split import Part, iterate_split
from compress.backends.open_runner import open_runner
from compress.backends.runner_protocol import Array, Feeds, FileRunner, Reloadable, pinned
from compress.core.entries import Row
from compress.core.language import gettext
from compress.core.network_spec import NetworkSpec
from compress.core.progress import Reporter
from compress.core.record import Quantity
from compress.core.stage import Context
from compress.profile.latency.timing import time_runners
from compress.profile.settings import MeasurementSettings
from compress.tasks.metric_quantity import estimate

if TYPE_CHECKING:
    from compress.tasks.base import Task
    from compress.tasks.postprocessing import Postprocessing

SAMPLES = 256
"""Validation samples of the metric."""
BATCH = 64
ALONE, INSIDE, OUTSIDE = "alone", "inside", "outside"
VARIANTS = {
    ALONE: "network alone",
    INSIDE: "{name} in the graph",
    OUTSIDE: "{name} outside, by the code of infer.py",
}
"""Words of the variants, with the name of the post-processing."""


class FollowedRunner:
    """A runner and what follows each of its inferences, as one.

    Args:
        runner: Runs the network.
        finish: Given its outputs.
    """

    def __init__(self, runner: FileRunner, finish: Callable[[Sequence[Array]], object]) -> None:
        self.runner, self.finish = runner, finish
        self.path = runner.path

    def __enter__(self) -> Self:
        """Load the network."""
        self.runner.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /) -> None:
        """Free it."""
        self.runner.__exit__(kind, error, trace)

    def run(self, feeds: Feeds) -> list[Array]:
        """Infer once, and finish."""
        outputs = self.runner.run(feeds)
        self.finish(outputs)
        return outputs

    def describe(self) -> dict[str, str]:
        """Settings of the runner."""
        return self.runner.describe()

    def reload(self) -> None:
        """Load the network anew, where its runner can."""
        if isinstance(self.runner, Reloadable):
            self.runner.reload()


def compare_postprocessing(
    network: Path,
    feeds: Feeds,
    spec: NetworkSpec,
    context: Context,
    plan: MeasurementSettings,
    *,
    batch: int,
) -> tuple[Row, ...]:
    """Rows `variant`, the metric, `latency_p50_ms`, `size_bytes`; none where the task has no post-processing.

    Args:
        network: ONNX file of the network alone.
        feeds: Inputs of one run.
        spec: Of the network.
        context: Data, task, folder.
        plan: How to measure.
        batch: Samples in one run.

    Raises:
        CompressError: The runtime does not run the graph with post-processing.
    """
    post = context.task.postprocessing
    if post is None:
        return ()
    with TemporaryDirectory() as folder:
        inside = Path(folder) / f"{network.stem}_{post.name.lower()}.onnx"
        onnx_files.save(post.append_to(onnx_files.load(network), spec), inside)
        files = {ALONE: network, INSIDE: inside, OUTSIDE: network}
        sizes = {name: path.stat().st_size for name, path in files.items()}
        latencies = _latencies(files, feeds, spec, context.task, post, plan, batch, context.reporter)
        metrics = dict(zip([*files][1:], _metrics(network, inside, spec, context, post, plan.runtime), strict=True))
    rows: list[Row] = []
    for name in files:
        size = Quantity.measured(sizes[name], "bytes", gettext("ONNX file on disk"))
        quantities = {context.task.metric: metrics.get(name), "latency_p50_ms": latencies[name], "size_bytes": size}
        written = {key: quantity and quantity.model_dump(mode="json") for key, quantity in quantities.items()}
        rows.append({"variant": _words(name, post.name), **written})
    return tuple(rows)


def _words(variant: str, name: str) -> str:
    return gettext(VARIANTS[variant], name=name)


def _latencies(  # one session over all files needs what each of them does
    files: Mapping[str, Path],
    feeds: Feeds,
    spec: NetworkSpec,
    task: Task,
    post: Postprocessing,
    plan: MeasurementSettings,
    batch: int,
    reporter: Reporter,
) -> dict[str, Quantity]:
    """Median latency of each variant, timed in turns."""

    def finish(outputs: Sequence[Array]) -> dict[str, Array]:
        return post.run(dict(zip(task.output_names, outputs, strict=True)), spec)

    with ExitStack() as stack:
        stack.enter_context(pinned(plan.affinity))
        runners = {}
        for name, path in files.items():
            runner = open_runner(plan.runtime, path, threads=plan.threads)
            follow = name == OUTSIDE
            runners[name] = stack.enter_context(FollowedRunner(runner, finish if follow else len))
        inputs = {name: fit_feeds(feeds, followed.runner.shapes(), followed.path) for name, followed in runners.items()}
        timings = time_runners(runners, inputs, plan.timing, batch=batch, reporter=reporter)
    return {name: timing.p50 for name, timing in timings.items()}


def _metrics(
    network: Path, inside: Path, spec: NetworkSpec, context: Context, post: Postprocessing, runtime: str
) -> tuple[Quantity, Quantity]:
    """The metric of the file with post-processing, and of the network with the code that follows it."""
    split, task = context.data.validation, post.task(spec)
    scores: tuple[list[torch.Tensor], list[torch.Tensor]] = ([], [])
    for results, batch in _first(iterate_split(inside, split, task, batch_size=BATCH, runtime=runtime)):
        scores[0].append(task.deciding.scores(results, batch.to("cpu").targets))
    for outputs, batch in _first(iterate_split(network, split, context.task, batch_size=BATCH, runtime=runtime)):
        results_outside = post.run({name: values.numpy() for name, values in outputs.items()}, spec)
        tensors = {name: torch.from_numpy(values) for name, values in results_outside.items()}
        scores[1].append(task.deciding.scores(tensors, batch.to("cpu").targets))
    first, second = (torch.cat(parts).numpy() for parts in scores)
    where = gettext("{runtime}, the first {count} validation samples", runtime=runtime, count=len(first))
    return estimate(task.deciding, first, where), estimate(task.deciding, second, where)


def _first(parts: Iterator[Part]) -> Iterator[Part]:
    """Outputs and batches up to that of the last sample of the metric."""
    samples = 0
    for outputs, batch in parts:
        yield outputs, batch
        samples += batch.size
        if samples >= SAMPLES:
            return
