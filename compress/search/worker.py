"""A worker of a study: takes trials, runs them, and writes what they measured, until none is left."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from compress.config.search_space import combine
from compress.core.errors import StoreError, message_line
from compress.core.language import gettext
from compress.core.memory_errors import name_memory_errors
from compress.core.progress import NullReporter, Reporter
from compress.core.record import StageRecord
from compress.pipeline.executor import PipelineExecutor
from compress.search.early_stop import is_stopped
from compress.search.measure_trial import TrialResult, measure_trial
from compress.search.owner import BEAT, Heartbeat
from compress.search.repeat_timing import repeat_overlapping
from compress.search.screen_latency import estimate_latency, is_before_profile, screen
from compress.search.shared_stages import SharedStages
from compress.search.study import INTERRUPTED, REASON, RESULT, RUNG, STEPS, SearchStudy
from compress.search.suggest import suggest_with
from compress.search.trial_energy import EnergyOfTrial
from compress.search.trial_source import TrialSource

POLL_S = 1.0
COLLECTION_SHARE = 0.01
"""Most of the time of a worker that the collection of unused networks may take."""


@dataclass(frozen=True)
class WorkerOptions:
    """How a worker runs trials.

    Attributes:
        out: Folder of all runs.
        folder: Name of the folder of the study, below that of the recipe.
        trials: Number of trials of the study.
        deadline_s: Time of `time.monotonic` after which no trial is started; None for none.
        device: Training device.
        reporter: Progress of the stages of a trial.
        on_trial: Called when a trial is settled, and while the worker waits for those of others.
    """

    out: Path
    folder: str
    trials: int
    deadline_s: float | None = None
    device: str = "auto"
    reporter: Reporter = field(default_factory=NullReporter)
    on_trial: Callable[[], None] = lambda: None


def work(study: SearchStudy, source: TrialSource, options: WorkerOptions) -> None:
    """Run trials until all are settled or the time is over; then wait for those that other workers run."""
    collection = Collection()
    while True:
        is_over = options.deadline_s is not None and time.monotonic() > options.deadline_s
        if not is_over and source.settings.fidelity:
            study.promote(source.settings, options.trials)
        trial = None if is_over else study.next_trial(options.trials)
        if trial is not None:
            run_trial(trial, study, source, options)
            collection.collect_if_due()
            options.on_trial()
        elif is_over or not study.states().keys() & {"running", "waiting"}:
            repeat_overlapping(study, source, options.out, options.folder, device=options.device, reporter=options.reporter)
            return
        else:
            options.on_trial()
            time.sleep(POLL_S)


def run_trial(trial: Any, study: SearchStudy, source: TrialSource, options: WorkerOptions) -> None:
    """Run one trial, and write its result, or why it failed.

    A trial that is interrupted stays unfinished in the storage; another worker, or the next command, repeats it, and continues
    in the middle of its stage.
    """
    states = study.optuna.trial.TrialState
    start_s = time.monotonic()
    try:
        with Heartbeat(lambda number: trial.set_user_attr(BEAT, number)), EnergyOfTrial() as energy:
            result = _measure(trial, study, source, options).model_copy(update={"energy_j": energy()})
            for name, distance in result.distances.items():
                trial.set_constraint(name, distance)
            finished = result.model_copy(update={"wall_s": round(time.monotonic() - start_s, 3)})
            trial.set_user_attr(RESULT, finished.model_dump(mode="json"))
            study.study.tell(trial, [quantity.value for quantity in result.objectives.values()])
    except StoppedEarly as stopped:
        trial.set_user_attr(REASON, str(stopped))
        study.study.tell(trial, state=states.PRUNED)
    except KeyboardInterrupt:
        trial.set_user_attr(INTERRUPTED, True)
        raise
    except study.optuna.exceptions.UpdateFinishedTrialError:
        options.reporter.line(gettext("trial {number} was taken over by another worker", number=trial.number))
    except StoreError:  # a full disk ends the worker, not the trial
        trial.set_user_attr(INTERRUPTED, True)
        raise
    except (Exception, SystemExit) as error:  # a trial may fail in any way, and the search goes on
        trial.set_user_attr(REASON, f"{type(error).__name__}: {message_line(error)}"[:500])
        study.study.tell(trial, state=states.FAIL)


class Collection:
    """Collects networks in reference cycles after a trial, unless that takes too large a share of the time of cheap trials."""

    def __init__(self) -> None:
        self._due_s = time.monotonic()

    def collect_if_due(self) -> None:
        """Collect, if the last collection took at most `COLLECTION_SHARE` of the time since then."""
        start_s = time.monotonic()
        if start_s < self._due_s:
            return
        gc.collect()
        end_s = time.monotonic()
        self._due_s = end_s + (end_s - start_s) / COLLECTION_SHARE


def _measure(trial: Any, study: SearchStudy, source: TrialSource, options: WorkerOptions) -> TrialResult:
    fixed = source.settings.fixed(trial.user_attrs.get(RUNG, 0))
    combination = combine(source.tree, source.settings.space, suggest_with(trial), fixed)
    plan = source.plan(combination.tree)
    stages = SharedStages(options.out, source.name, options.folder)
    advice = gettext("the search goes on")
    try:
        with name_memory_errors(gettext("trial {number}", number=trial.number), advice):
            executor = PipelineExecutor(plan, stages, device=options.device, reporter=options.reporter, smoke=source.smoke)
            result = _run_stages(executor, trial, study, source)
    finally:
        stages.close()
    return result.model_copy(update={"computed_s": stages.computed_s})


def _run_stages(executor: PipelineExecutor, trial: Any, study: SearchStudy, source: TrialSource) -> TrialResult:
    """Run the stages, without the profile of a trial that the cost model sees behind the front; its result."""
    objectives, latency = source.settings.objectives, source.settings.latency
    estimated = None
    for finished in executor.run():
        _stop_if_worse(trial, finished, study, source)
        if latency.screen_after is None or not is_before_profile(executor):
            continue
        estimated = estimate_latency(executor, objectives)
        if estimated is None:
            continue
        screened = screen(executor, study.rows(), study.directions, objectives, latency, estimated)
        if screened is not None:
            return screened.model_copy(update={"estimated_ms": estimated[1]})
    result = measure_trial(executor, objectives)
    return result.model_copy(update={"estimated_ms": estimated[1] if estimated else None})


class StoppedEarly(Exception):  # noqa: N818  # no error
    """A trial that its study's rule stops."""


def _stop_if_worse(trial: Any, finished: StageRecord, study: SearchStudy, source: TrialSource) -> None:
    """Write the first metric of a trial after a stage, and stop the trial if the rule of the search says so.

    Raises:
        StoppedEarly: It is worse than the others after this stage.
    """
    metric = next((metric for metric in source.metrics if metric.name in study.directions), None)
    if source.settings.stop is None or metric is None or finished.index == 0:
        return
    value = finished.after.get(f"{metric.name}_validation")
    if value is None or value.value is None:
        return
    cost = -value.value if metric.higher_is_better else value.value
    steps = {**trial.user_attrs.get(STEPS, {}), str(finished.index): cost}
    trial.set_user_attr(STEPS, steps)
    rung = trial.user_attrs.get(RUNG, 0)
    others = [row.steps for row in study.rows() if row.number != trial.number and row.rung == rung]
    if is_stopped(source.settings.stop, cost, finished.index, others, reduction=source.settings.reduction):
        raise StoppedEarly(
            gettext("after {stage} its {metric} is {value:.4g}, worse than that of the others", stage=finished.name,
                    metric=gettext(metric.label), value=value.value)
        )  # fmt: skip
