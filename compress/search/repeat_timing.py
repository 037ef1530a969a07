"""Repeated timing of the trials of the front whose intervals of latency overlap, in turns in one session.

Trials are timed minutes or hours apart, so that the speed of the machine may have changed between them. In one session, changes
cancel. Trials of other machines stay as they are.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from filelock import FileLock

from compress.config.devices import load_device
from compress.core.errors import CompressError, message_line
from compress.core.language import gettext
from compress.core.progress import NullReporter, Reporter
from compress.core.record import BenchmarkRow
from compress.pipeline.executor import PipelineExecutor
from compress.pipeline.verdict import profile_of_artifact
from compress.profile.benchmark_rows import measure_rows
from compress.profile.settings import MeasurementSettings
from compress.profile.stage import Profile
from compress.profile.this_machine import file_feeds, samples
from compress.search.front import TrialRow, objective, select
from compress.search.measure_trial import TrialResult, measure_trial
from compress.search.screen_latency import latency_objective
from compress.search.shared_stages import SharedStages
from compress.search.study import SearchStudy
from compress.search.suggest import combination_of
from compress.search.trial_source import TrialSource

LOCK = "repeats.lock"


def overlapping(rows: Sequence[TrialRow], name: str) -> tuple[TrialRow, ...]:
    """The trials whose measured interval of an objective overlaps with that of another one.

    Args:
        rows: Trials of a front.
        name: The objective.
    """

    def overlaps(one: TrialRow, other: TrialRow) -> bool:
        a, b = objective(one, name), objective(other, name)
        if None in (a.low, a.high, b.low, b.high) or "estimated" in (a.how, b.how):
            return False
        return a.low <= b.high and b.low <= a.high  # type: ignore[operator]

    return tuple(row for row in rows if any(overlaps(row, other) for other in rows if other is not row))


def repeat_overlapping(
    study: SearchStudy, source: TrialSource, out: Path, folder: str, *, device: str = "auto", reporter: Reporter | None = None
) -> int:
    """Time the trials of the front whose intervals overlap again, until none is left or all sessions are used.

    Args:
        study: The study, whose trials are settled.
        source: Its recipe.
        out: Folder of all runs.
        folder: Name of the folder of the study.
        device: Training device, which is not used: all stages are finished.
        reporter: Shows progress, and says why trials could not be timed again.

    Returns:
        Number of sessions.
    """
    settings, reporter = source.settings, reporter or NullReporter()
    if not settings.latency.repeats:
        return 0
    name, device_name = latency_objective(settings.objectives)
    place = out / source.name / folder
    place.mkdir(parents=True, exist_ok=True)
    with FileLock(place / LOCK):
        for session in range(settings.latency.repeats):
            front = select(study.rows(), study.directions).front
            rows = [row for row in overlapping(front, name) if row.host in ("", socket.gethostname())]
            if len(rows) < 2 or min(study.repeated.sessions(row.number) for row in rows) >= settings.latency.repeats:
                return session
            try:
                results = _time_in_turns(rows, source, out, folder, device_name, device, reporter)
            except CompressError as error:
                reporter.line(gettext("the front was not timed again: {reason}", reason=message_line(error)))
                return session
            for row in rows:
                if row.result is not None and row.number in results:
                    study.repeated.put(row.number, row.result, results[row.number])
    return settings.latency.repeats


def _time_in_turns(
    rows: Sequence[TrialRow], source: TrialSource, out: Path, folder: str, device_name: str, device: str, reporter: Reporter
) -> dict[int, TrialResult]:
    """Time trials in one session; their new results."""
    with ExitStack() as stack:
        runs: dict[int, PipelineExecutor] = {}
        for row in rows:
            stages = SharedStages(out, source.name, folder)
            stack.callback(stages.close)
            plan = source.plan(combination_of(source, row.parameters, row.rung).tree)
            runs[row.number] = PipelineExecutor(plan, stages, device=device, reporter=NullReporter(), smoke=source.smoke)
            for _ in runs[row.number].run():
                pass
        first = next(iter(runs.values()))
        profile = first.plan.stages[-1]
        assert isinstance(profile, Profile)  # noqa: S101  # as `check_objectives` says
        target = load_device(device_name, first.plan.base)
        files = {str(number): path for number, run in runs.items() if (path := run.outputs[-1].onnx()) is not None}
        feeds = file_feeds(files, samples(first.data.validation, target.contract.batch, first.outputs[-1].spec().signature))
        protocol = MeasurementSettings.of(target, threads=profile.threads, seconds=profile.seconds)
        measured, _ = measure_rows(files, feeds, target, protocol, batch=target.contract.batch, reporter=reporter)
        return {
            int(row.subject): measure_trial(runs[int(row.subject)], source.settings.objectives, rows=_replaced(runs, row))
            for row in measured
        }


def _replaced(runs: dict[int, PipelineExecutor], measured: BenchmarkRow) -> tuple[BenchmarkRow, ...]:
    """The rows of the profile of a trial, with its artifact as it was timed again."""
    profile = profile_of_artifact(runs[int(measured.subject)].outputs)
    rows = profile.benchmark_rows if profile else ()
    is_old = [row.subject == "artifact" and row.device == measured.device for row in rows]
    others = (row for row, old in zip(rows, is_old, strict=True) if not old)
    return (*others, measured.model_copy(update={"subject": "artifact"}))
