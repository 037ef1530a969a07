"""A run in MLflow by its client: parameters, curves by step, final metrics, tags, and on request the artifacts.

The client is used without MLflow's global state, so that a program that logs runs of its own is not disturbed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from compress import __version__
from compress.config.tracking import Mlflow
from compress.core.atomic_files import write_text
from compress.core.errors import MissingPackageError
from compress.core.record import StageRecord
from compress.core.run_directory import ARTIFACTS, RECORD
from compress.core.run_record import RunRecord
from compress.core.sentences.limits import RESULT_WORDS
from compress.pipeline.tracking.values import curve_points, final_values, parameters, stage_label

if TYPE_CHECKING:
    from mlflow import MlflowClient

STATE = ".mlflow.json"
"""File of a run directory with the MLflow run and the stages that it has, so that a continued run is one run there."""
SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
}
"""Environment of the client, where the user has not set it: no telemetry, no lines on the terminal, which could show a password
of an address, and seconds instead of minutes without a server."""
LONGEST_VALUE = 6000
"""Characters of a parameter that MLflow stores."""
PARAMETERS_PER_CALL, METRICS_PER_CALL = 100, 1000
REPORTS = ("report.md", "report.html", RECORD)
_NOT_IN_NAMES = re.compile(r"[^\w.\- :/]")
Item = TypeVar("Item")


class MlflowTracker:
    """Logs to one MLflow run for each run directory.

    Args:
        settings: Server, experiment, artifacts.
        name: Name of the recipe.
        run: The run directory.

    Raises:
        MissingPackageError: MLflow is not installed.
    """

    name = "mlflow"

    def __init__(self, settings: Mlflow, name: str, run: Path) -> None:
        for variable, value in SETTINGS.items():
            os.environ.setdefault(variable, value)
        try:
            from mlflow import MlflowClient
        except ImportError as error:
            raise MissingPackageError("mlflow", "mlflow", "tracking.mlflow") from error
        self._connect: type[MlflowClient] = MlflowClient
        self._settings = settings
        self._name = name
        self._experiment = settings.experiment or name
        self._run = run
        self._client: MlflowClient | None = None
        self._run_id = ""
        self._logged: list[str] = []

    def start(self, recipe: dict[str, object]) -> None:
        """Open the MLflow run of the run directory, or create it and log the parameters."""
        client = self._client = self._connect(tracking_uri=self._settings.uri)
        if self._reopen(client):
            return
        experiment = client.get_experiment_by_name(self._experiment)
        experiment_id = experiment.experiment_id if experiment else client.create_experiment(self._experiment)
        tags = {"compress.version": __version__, "compress.run": f"{self._name}/{self._run.name}"}
        self._run_id = client.create_run(experiment_id, run_name=self._name, tags=tags).info.run_id
        self._logged = []
        self._log_parameters(client, recipe)
        self._save()

    def log_stage(self, stage: StageRecord) -> None:
        """Log the curves of a stage and its duration, once."""
        if stage.key in self._logged:
            return
        label = stage_label(stage)
        points = [(f"{label}/{point.name}", point.value, point.step) for point in curve_points(stage)]
        self._log_metrics([*points, (f"{label}/wall_time_s", stage.wall_time_s, 0)])
        self._logged.append(stage.key)
        self._save()

    def finish(self, record: RunRecord) -> None:
        """Log final metrics and latencies, once, and the verdict as a tag."""
        client, results = self._opened(), f"results of {record.every_stage[-1].key if record.every_stage else 'no stage'}"
        if results not in self._logged:
            self._log_metrics([(name, value, 0) for name, value in final_values(record).items()])
            self._logged.append(results)
            self._save()
        if record.verdict is not None:
            client.set_tag(self._run_id, "compress.verdict", RESULT_WORDS[record.verdict.result])
        client.set_tag(self._run_id, "compress.smoke", json.dumps(record.smoke))
        client.set_terminated(self._run_id, "FINISHED")

    def send_files(self, run: Path) -> None:
        """Send artifacts, report and record, where the recipe asks for them."""
        if not self._settings.artifacts:
            return
        client = self._opened()
        for name in REPORTS:
            client.log_artifact(self._run_id, str(run / name))
        if (run / ARTIFACTS).is_dir():
            client.log_artifacts(self._run_id, str(run / ARTIFACTS), ARTIFACTS)

    def stop(self, status: str) -> None:
        """Close the MLflow run of a run that did not finish, as `FAILED` or `KILLED`."""
        self._opened().set_terminated(self._run_id, status)

    def _opened(self) -> MlflowClient:
        assert self._client is not None  # noqa: S101  # `start` comes first
        return self._client

    @property
    def _target(self) -> str:
        """Identity of server and experiment, without the address, which may hold credentials of the environment."""
        address = self._settings.uri or os.environ.get("MLFLOW_TRACKING_URI", "")
        return hashlib.sha256(f"{address} {self._experiment}".encode()).hexdigest()[:16]

    def _reopen(self, client: MlflowClient) -> bool:
        """Continue the run that the state names; False where there is none, or the server does not have it any more."""
        from mlflow.exceptions import MlflowException

        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            state = json.loads((self._run / STATE).read_text(encoding="utf-8"))
            if state["target"] == self._target:
                with suppress(MlflowException):
                    client.update_run(state["run_id"], status="RUNNING")
                    self._run_id, self._logged = state["run_id"], list(state["stages"])
                    return True
        return False

    def _save(self) -> None:
        state = {"target": self._target, "run_id": self._run_id, "stages": self._logged}
        write_text(self._run / STATE, json.dumps(state, indent=1))

    def _log_parameters(self, client: MlflowClient, recipe: dict[str, object]) -> None:
        from mlflow.entities import Param

        params = [Param(_metric_name(name), text[:LONGEST_VALUE]) for name, text in parameters(recipe).items()]
        for part in _parts(params, PARAMETERS_PER_CALL):
            client.log_batch(self._run_id, params=part)

    def _log_metrics(self, metrics: Sequence[tuple[str, float, int]]) -> None:
        from mlflow.entities import Metric

        now_ms = round(time.time() * 1000)
        entries = [Metric(_metric_name(name), value, now_ms, step) for name, value, step in metrics]
        for part in _parts(entries, METRICS_PER_CALL):
            self._opened().log_batch(self._run_id, metrics=part)


def _metric_name(name: str) -> str:
    """A name with the characters that MLflow allows, at most 250 of them."""
    return _NOT_IN_NAMES.sub("_", name)[:250]


def _parts(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
