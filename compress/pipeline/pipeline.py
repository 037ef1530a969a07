"""`Pipeline`: the public class that runs a recipe, or stages as Python objects. `executor` runs the stages.

Pipeline.load("recipe.yaml").run()
Pipeline("mine", model=net, data=Data.from_loaders(...), stages=[Prune(...), Quantize()]).run()
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from compress.core.atomic_files import name_disk_errors
from compress.core.environment import check_launch, is_main
from compress.core.language import Language, in_language_of_recipe
from compress.core.latest_run import link_latest
from compress.core.progress import NullReporter, Reporter
from compress.core.run_directory import RunDirectory
from compress.core.run_record import RunRecord
from compress.core.stage import Stage
from compress.core.verdict import Verdict
from compress.pipeline.plan import Plan, from_objects, from_recipe
from compress.pipeline.publish import publish
from compress.pipeline.tracking.trackers import Trackers, open_trackers

if TYPE_CHECKING:
    from torch import nn

    from compress.config.tracking import Tracking
    from compress.core.budget import Budget
    from compress.data.interface import Data
    from compress.pipeline.executor import PipelineExecutor
    from compress.tasks.base import Task


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        record: The whole run as data.
        folder: The run directory.
        report: Files of the report.
    """

    record: RunRecord
    folder: Path
    report: tuple[Path, ...]

    @property
    def verdict(self) -> Verdict | None:
        """Whether the run is within the budget; None without a budget and for a smoke run."""
        return self.record.verdict


class Pipeline:
    """A chain of stages that can be run.

    Args:
        name: Name of the run directory.
        model: The network to compress; not changed.
        data: Splits, for example `Data.from_loaders(...)`.
        stages: The stages, in order.
        task: Task of the network: a name of `compress methods task`, or an object of your own class.
        teacher: A trained teacher, or several.
        budget: Limits for the verdict.
        seed: Seed of all random numbers.
        tracking: Trackers of the run besides its record.
        language: Language of the run's messages and of its report; the environment variable COMPRESS_LANG goes before it.
    """

    def __init__(  # public API: each keyword is one key of a recipe
        self,
        name: str,
        *,
        model: nn.Module,
        data: Data,
        stages: Sequence[Stage],
        task: str | Task = "classification",
        teacher: nn.Module | Sequence[nn.Module] = (),
        budget: Budget | None = None,
        seed: int = 0,
        tracking: Tracking | None = None,
        language: Language | None = None,
    ) -> None:
        teachers = tuple(teacher) if isinstance(teacher, Sequence) else (teacher,)
        self.plan = from_objects(
            name,
            model,
            data,
            stages,
            task=task,
            teachers=teachers,
            budget=budget,
            seed=seed,
            tracking=tracking,
            language=language,
        )

    @classmethod
    def load(cls, recipe: str | Path, *, overrides: Sequence[str] = (), smoke: bool = False, trust_code: bool = False) -> Self:
        """The pipeline of a recipe: a path, or a name in `./pipelines/` or among the shipped recipes.

        Args:
            recipe: Path or name.
            overrides: Changes `key=value`, as for `--set`.
            smoke: Run every stage with minimal settings.
            trust_code: Allow `python:` sources.

        Raises:
            RecipeError: The recipe has faults; all are listed.
        """
        from compress.config.recipe import load

        loaded = load(recipe, overrides=overrides, smoke=smoke, trust_code=trust_code)
        return cls.of(from_recipe(loaded, trust_code=trust_code), smoke=smoke)

    @classmethod
    def of(cls, plan: Plan, *, smoke: bool = False) -> Self:
        """The pipeline of a plan."""
        self = cls.__new__(cls)
        self.plan = plan
        self.smoke = smoke
        return self

    smoke = False

    def run(
        self, *, out: str | Path = "reports", fresh: bool = False, device: str = "auto", reporter: Reporter | None = None
    ) -> Run:
        """Run the unfinished stages, and write the report.

        Args:
            out: Folder of all runs.
            fresh: Compute everything again; the files of an earlier run are moved aside, not deleted.
            device: Training device: `auto`, `cpu`, `cuda`, `mps`.
            reporter: Progress; by default nothing is shown.

        Raises:
            CompressError: An error of the input or the environment; finished stages are kept.
        """
        with in_language_of_recipe(self.plan.language):
            return self._run(out=Path(out), fresh=fresh, device=device, reporter=reporter)

    def _run(self, *, out: Path, fresh: bool, device: str, reporter: Reporter | None) -> Run:
        from compress.pipeline.executor import PipelineExecutor

        check_launch()
        directory = RunDirectory(out, self.plan.name, self.plan.digest, reuse=not fresh)
        with directory.locked(), name_disk_errors(directory.path):
            reporter = reporter if reporter and is_main() else NullReporter()
            tracking = self.plan.tracking if is_main() else None
            trackers = open_trackers(tracking, self.plan.name, directory.path, reporter)
            executor = PipelineExecutor(self.plan, directory, device=device, reporter=reporter, smoke=self.smoke)
            with trackers.running(self.plan.recipe):
                record = self._run_stages(executor, trackers)
                report = publish(record, directory.path, (*executor.teachers, *executor.outputs), reporter) if is_main() else ()
            trackers.finish(record, directory.path)
            if is_main():
                link_latest(directory.out, directory.path)
            return Run(record, directory.path, report)

    def _run_stages(self, executor: PipelineExecutor, trackers: Trackers) -> RunRecord:
        """Run all stages in order."""
        for finished in executor.run():
            trackers.log_stage(finished)
        return executor.record()
