"""Trackers of a run, so called that none can stop it: an error or a silent server gives a warning, and the tracker is left out.

Values are sent between stages, in the thread of the run, since a thread beside it would disturb its timings.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Protocol

from compress.config.tracking import Tracking
from compress.core.language import gettext
from compress.core.progress import Reporter
from compress.core.record import StageRecord
from compress.core.run_record import RunRecord

DEADLINE_S = 20.0
"""Longest time that a call of a tracker may take; a run waits so long once, since the tracker is left out then."""
START_DEADLINE_S = 60.0
"""The same for the start, which creates the tables of a new database. Without a server it fails by itself, in seconds."""
FILES_DEADLINE_S = 120.0
"""The same for files, which are sent only where the recipe asks for them."""
STOP_DEADLINE_S = 5.0
"""The same for the end of a run that failed or was interrupted."""
_USER_IN_URL = re.compile(r"//[^/@\s]*@")


class RunTracker(Protocol):
    """Logs one run; any of its methods may fail.

    Attributes:
        name: Its key in the recipe.
    """

    name: str

    def start(self, recipe: dict[str, object]) -> None:
        """Begin, with the resolved recipe."""

    def log_stage(self, stage: StageRecord) -> None:
        """Log a finished or reused stage."""

    def finish(self, record: RunRecord) -> None:
        """Log the results of the finished run."""

    def send_files(self, run: Path) -> None:
        """Send files of the run directory, if that is wanted."""

    def stop(self, status: str) -> None:
        """End a run that did not finish; `FAILED` or `KILLED`."""


class Trackers:
    """All trackers of a run.

    Args:
        trackers: The trackers.
        reporter: For warnings.
    """

    def __init__(self, trackers: tuple[RunTracker, ...], reporter: Reporter) -> None:
        self._trackers = trackers
        self._reporter = reporter

    def log_stage(self, stage: StageRecord) -> None:
        """Log a finished or reused stage."""
        self._call(lambda tracker: tracker.log_stage(stage))

    def finish(self, record: RunRecord, run: Path) -> None:
        """Log the results, and send files."""
        self._call(lambda tracker: tracker.finish(record))
        self._call(lambda tracker: tracker.send_files(run), FILES_DEADLINE_S)

    @contextmanager
    def running(self, recipe: dict[str, object]) -> Iterator[None]:
        """Start, and on an error in the block end as failed, or killed by the user."""
        self._call(lambda tracker: tracker.start(recipe), START_DEADLINE_S)
        try:
            yield
        except BaseException as error:
            status = "FAILED" if isinstance(error, Exception) else "KILLED"
            self._call(lambda tracker: tracker.stop(status), STOP_DEADLINE_S)
            raise

    def _call(self, action: Callable[[RunTracker], None], deadline_s: float | None = None) -> None:
        for tracker in self._trackers:
            problem = _run_within(deadline_s or DEADLINE_S, partial(action, tracker))
            if problem is not None:
                self._trackers = tuple(other for other in self._trackers if other is not tracker)
                self._reporter.line(
                    gettext(
                        "   ! tracking.{name} is left out from here on, the run goes on: {problem}",
                        name=tracker.name,
                        problem=problem,
                    )
                )


def open_trackers(tracking: Tracking | None, name: str, run: Path, reporter: Reporter) -> Trackers:
    """The trackers of a recipe.

    Args:
        tracking: Settings; None for no tracker.
        name: Name of the recipe.
        run: The run directory.
        reporter: For warnings.

    Raises:
        MissingPackageError: The package of a tracker is not installed.
    """
    trackers: list[RunTracker] = []
    if tracking is not None and tracking.mlflow is not None:
        from compress.pipeline.tracking.mlflow_tracker import MlflowTracker

        trackers.append(MlflowTracker(tracking.mlflow, name, run))
    if tracking is not None and tracking.tensorboard:
        from compress.pipeline.tracking.tensorboard_tracker import TensorboardTracker

        trackers.append(TensorboardTracker(run))
    return Trackers(tuple(trackers), reporter)


def _run_within(seconds: float, call: Callable[[], None]) -> str | None:
    """Run a call in a thread of its own; why it failed, or None. After the time limit it may go on waiting for its server."""
    problems: list[str] = []

    def guarded() -> None:
        try:
            call()
        except Exception as error:  # whatever a client raises, the run goes on
            words = _USER_IN_URL.sub("//", " ".join(str(error).split()))
            problems.append(f"{type(error).__name__}: {words[:300]}")

    thread = threading.Thread(target=guarded, name="compress tracker", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        return gettext("no answer in {seconds:.0f} s", seconds=seconds)
    return problems[0] if problems else None
