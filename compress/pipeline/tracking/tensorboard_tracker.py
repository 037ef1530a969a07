"""Event files for TensorBoard in `tensorboard/` of the run directory: a folder for each stage, and `final`."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from compress.config.yaml_writer import dump
from compress.core.errors import MissingPackageError
from compress.core.record import StageRecord
from compress.core.run_record import RunRecord
from compress.pipeline.tracking.values import curve_points, final_values, stage_label

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

FOLDER = "tensorboard"


class TensorboardTracker:
    """Writes event files. They are written anew by every run of the recipe, also for reused stages.

    Args:
        run: The run directory.

    Raises:
        MissingPackageError: TensorBoard is not installed.
    """

    name = "tensorboard"

    def __init__(self, run: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise MissingPackageError("tensorboard", "tensorboard", "tracking.tensorboard") from error
        self._open: type[SummaryWriter] = SummaryWriter
        self._folder = run / FOLDER

    def start(self, recipe: dict[str, object]) -> None:
        """Remove the files of an earlier run, and write the resolved recipe."""
        shutil.rmtree(self._folder, ignore_errors=True)
        with self._open(str(self._folder / "final")) as writer:
            writer.add_text("recipe", "".join(f"    {line}\n" for line in dump(recipe).splitlines()))

    def log_stage(self, stage: StageRecord) -> None:
        """Write the curves of a stage."""
        points = list(curve_points(stage))
        if not points:
            return
        with self._open(str(self._folder / stage_label(stage))) as writer:
            for point in points:
                writer.add_scalar(point.name, point.value, point.step)

    def finish(self, record: RunRecord) -> None:
        """Write metrics, interval ends and latencies of the artifact."""
        with self._open(str(self._folder / "final")) as writer:
            for name, value in final_values(record).items():
                writer.add_scalar(name, value, 0)

    def send_files(self, run: Path) -> None:
        """Do nothing: the run directory has all files."""

    def stop(self, status: str) -> None:
        """Do nothing: every file is closed."""
