"""The `tracking:` block of a recipe: where a run is logged besides its record. Imports no tracker."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator

from pydantic import Field, field_validator

from compress.config.key_path import KeyPath
from compress.core.errors import MissingPackageError
from compress.core.frozen_model import FrozenModel
from compress.core.language import gettext

_CREDENTIALS = re.compile(r"^[^/]*//[^/]*@|[?&][^=&]*(password|passwd|pwd|token|secret|key)[^=&]*=", re.IGNORECASE)


class Mlflow(FrozenModel):
    """A run in MLflow. Its values are sent between stages, and an error of the server never stops the run.

    Attributes:
        uri: Address of the server, such as `http://127.0.0.1:5000`, or `sqlite:///runs.db`; by default `MLFLOW_TRACKING_URI`
            of the environment, which is also the place of user names, passwords and tokens.
        experiment: Name of the experiment, which is created if it is missing; by default the name of the recipe.
        artifacts: Whether to send the files of `artifacts/`, the report and the record at the end.
    """

    uri: str | None = Field(default=None, min_length=1)
    experiment: str | None = Field(default=None, min_length=1)
    artifacts: bool = False

    @field_validator("uri")
    @classmethod
    def _has_no_credentials(cls, uri: str | None) -> str | None:
        if uri is not None and _CREDENTIALS.search(uri):
            msg = gettext(
                "a uri with a user name, a password or a token would be stored in the record; "
                "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, MLFLOW_TRACKING_TOKEN, or the whole address as "
                "MLFLOW_TRACKING_URI in the environment"
            )
            raise ValueError(msg)
        return uri


class Tracking(FrozenModel):
    """Trackers of a run, besides its record: parameters, training curves, final metrics and latencies.

    Attributes:
        mlflow: Log to MLflow (needs the extra `mlflow`); `{}` takes all defaults.
        tensorboard: Whether to write event files to `tensorboard/` of the run directory (needs the extra `tensorboard`).
    """

    mlflow: Mlflow | None = None
    tensorboard: bool = False

    @property
    def packages(self) -> tuple[str, ...]:
        """Packages that the trackers in use need; the names of the extras are the same."""
        return (*(("mlflow",) if self.mlflow is not None else ()), *(("tensorboard",) if self.tensorboard else ()))


def check_tracking(tracking: Tracking | None) -> Iterator[tuple[KeyPath, str]]:
    """Trackers whose package is not installed."""
    for package in tracking.packages if tracking is not None else ():
        if importlib.util.find_spec(package) is None:
            yield ("tracking", package), str(MissingPackageError(package, package, f"tracking.{package}"))
