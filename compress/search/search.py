"""`Search`: the public class that searches values of a recipe or of a pipeline from Python.

result = Search("recipe.yaml").run(trials=40)
print(result.best_recipe)
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from compress.config.search_settings import SearchSettings, objective_name
from compress.core.errors import SearchError, StoreError
from compress.core.language import gettext
from compress.core.progress import Reporter
from compress.search.front import Selection, TrialRow, select
from compress.search.measure_trial import higher_is_better
from compress.search.samplers import make_sampler
from compress.search.storage import LONGEST_WAIT_S, OPEN_WAIT_S, open_storage
from compress.search.study import SearchStudy, identity_of, no_study
from compress.search.suggest import combination_of
from compress.search.trial_source import PipelineSource, RecipeSource, TrialSource
from compress.search.worker import WorkerOptions, work
from compress.search.written_trial import written_values

if TYPE_CHECKING:
    from compress.pipeline.pipeline import Pipeline

JOURNAL = "journal.log"
POLL_S = 1.0
MOST_RESTARTS = 100
END_WAIT_S = 2.5
"""Time for workers to end after an interruption, s; shorter than that after which an interrupted command ends at once."""


@dataclass(frozen=True)
class SearchResult:
    """A study so far.

    Attributes:
        name: Name of the study.
        rows: Its trials.
        directions: Objectives in order of importance, each with whether higher is better.
        selection: The choice among them.
        folder: Folder of the study.
        best_recipe: The recipe of the chosen trial as YAML; empty if no trial is within the budget.
    """

    name: str
    rows: tuple[TrialRow, ...]
    directions: dict[str, bool]
    selection: Selection
    folder: Path
    best_recipe: str = ""


class Search:
    """A search for values of a recipe.

    Args:
        recipe: A recipe with `search:`, by path or name, or a `Pipeline` from Python.
        settings: The search of a `Pipeline`; its key paths begin with `stages`.
        overrides: Changes `key=value` of a recipe, as for `--set`.
        smoke: Run every trial at toy size.
        trust_code: Allow `python:` sources.

    Raises:
        RecipeError: The recipe has faults, or the space contains an invalid recipe.
    """

    def __init__(
        self,
        recipe: str | Path | Pipeline,
        *,
        settings: SearchSettings | None = None,
        overrides: Sequence[str] = (),
        smoke: bool = False,
        trust_code: bool = False,
    ) -> None:
        self.source: TrialSource
        if isinstance(recipe, str | Path):
            self.source = RecipeSource(recipe, overrides=overrides, smoke=smoke, trust_code=trust_code)
        elif settings is not None:
            self.source = PipelineSource(recipe, settings)
        else:
            raise SearchError(gettext("a search of a pipeline from Python needs settings=SearchSettings(…)"))

    @property
    def study_name(self) -> str:
        """Name of the study in its storage; a smoke run has a study of its own."""
        return f"{self.source.name}-smoke" if self.source.smoke else self.source.name

    def folder(self, out: Path) -> Path:
        """Folder of the study: one for each recipe, space and objectives."""
        identity = identity_of(self.source.tree, self.source.settings, smoke=self.source.smoke)
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]
        return out / self.source.name / f"search-{digest}"

    def open(
        self,
        out: str | Path = "reports",
        *,
        storage: str | None = None,
        reporter: Reporter | None = None,
        worker: str = "",
        create: bool = True,
    ) -> SearchStudy:
        """The study in its storage.

        Args:
            out: Folder of all runs.
            storage: Path of a journal file, or a URL; by default a journal file in the folder of the study.
            reporter: Reports a storage that is waited for.
            worker: What tells this worker from others, for the seed of its random numbers.
            create: Whether a study that is not there is created.

        Raises:
            StoreError: The storage cannot be opened, has another study of this name, or has none.
        """
        settings, source = self.source.settings, self.source
        storage = storage or str(self.folder(Path(out)) / JOURNAL)
        if not create and "://" not in storage and not Path(storage).exists():
            raise no_study(self.study_name, storage)
        open_wait_s = LONGEST_WAIT_S if worker else OPEN_WAIT_S
        opened = open_storage(storage, reporter=reporter, open_wait_s=open_wait_s)
        identity = identity_of(source.tree, settings, smoke=source.smoke)
        study = SearchStudy(opened, self.study_name, identity, self.directions, create=create)
        seed = int(hashlib.sha256(f"{source.seed}:{study.states().total()}:{worker}".encode()).hexdigest()[:8], 16)
        if study.is_new:
            study.begin_with(written_values(source.tree, source.plan(source.tree).recipe, settings.space))
        study.study.sampler = make_sampler(settings.engine, seed=seed, trials=settings.trials)
        return study

    @property
    def directions(self) -> dict[str, bool]:
        """Objectives in order of importance, each with whether higher is better."""
        metrics, objectives = self.source.metrics, self.source.settings.objectives
        return {objective_name(objective): higher_is_better(objective, metrics) for objective in objectives}

    def run(
        self,
        *,
        out: str | Path = "reports",
        trials: int | None = None,
        time_s: float | None = None,
        storage: str | None = None,
        device: str = "auto",
        reporter: Reporter | None = None,
        worker: str = "",
        on_trial: Callable[[SearchStudy], None] | None = None,
    ) -> SearchResult:
        """Run trials in this process until the study has enough of them, or the time is over.

        A study continues where it ended: what is finished is kept, and a trial that was interrupted is repeated.

        Args:
            out: Folder of all runs.
            trials: Number of trials of the whole study; by default that of the recipe.
            time_s: Time after which no trial is started, s.
            storage: Path of a journal file, or a URL that several workers share.
            device: Training device.
            reporter: Reports a storage that is waited for.
            worker: What tells this worker from others.
            on_trial: Called with the study when a trial is settled.

        Raises:
            StoreError: The storage or the folder cannot be used.
        """
        study = self.open(out, storage=storage, reporter=reporter, worker=worker)
        folder = self.folder(Path(out))
        options = WorkerOptions(
            out=Path(out),
            folder=folder.name,
            trials=trials or self.source.settings.trials,
            deadline_s=None if time_s is None else time.monotonic() + time_s,
            device=device,
            on_trial=(lambda: on_trial(study)) if on_trial else (lambda: None),
        )
        work(study, self.source, options)
        return self.result(study, out)

    def result(self, study: SearchStudy, out: str | Path = "reports") -> SearchResult:
        """The study so far."""
        folder = self.folder(Path(out))
        rows = study.rows()
        selection = select(rows, study.directions)
        best = self.recipe_of(selection.best) if selection.best else ""
        return SearchResult(study.name, tuple(rows), study.directions, selection, folder, best)

    def recipe_of(self, row: TrialRow) -> str:
        """The recipe of a trial as YAML: run, it finds the stages of the trial finished."""
        return self.source.write(combination_of(self.source, row.parameters, row.rung).tree)


def run_workers(command: Sequence[str], count: int, poll: Callable[[], bool]) -> None:
    """Run workers in processes of their own until all end; a worker that is killed is started again.

    Args:
        command: Arguments of `compress` for one worker.
        count: Number of workers.
        poll: Called each second; whether the study still has trials to run.

    Raises:
        StoreError: The workers end at once with an error.
    """
    start = [sys.executable, "-m", "compress", *command]
    environment = {**os.environ, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(_threads(count)))}

    def begin() -> subprocess.Popen[bytes]:
        # In a session of its own a worker gets no Ctrl-C of the terminal beside the SIGTERM below.
        return subprocess.Popen(start, env=environment, stdout=subprocess.DEVNULL, start_new_session=True)  # noqa: S603

    running = [begin() for _ in range(count)]
    restarts = 0
    try:
        while running:
            time.sleep(POLL_S)
            is_open = poll()
            for process in [process for process in running if process.poll() is not None]:
                running.remove(process)
                if process.returncode == 0 or not is_open:
                    continue
                restarts += 1
                if process.returncode > 0 or restarts > MOST_RESTARTS:
                    raise StoreError(
                        gettext("a worker ended with exit code {code}; its message is above", code=process.returncode)
                    )
                running.append(begin())
    finally:
        for process in running:
            process.terminate()
        end_s = time.monotonic() + END_WAIT_S
        for process in running:
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=max(0.0, end_s - time.monotonic()))
            process.kill()


def _threads(workers: int) -> int:
    return max(1, (os.cpu_count() or 1) // workers)
